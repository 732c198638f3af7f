"""A real NetBox on loopback (tests/netbox/netbox-lab), what can be done to it, and clients that are not weir."""
import collections
import concurrent.futures
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

from weir_test import TREE, AccessLog, NetBox, request

SCRIPT = TREE / "tests/netbox/netbox-lab"


class Lab:
    """An instance. Without a name: the one that the environment means, which the tests' fixture brings up."""

    def __init__(self, name=None):
        self.environment = dict(os.environ)
        if name:
            self.environment["WEIR_LAB_DIR"] = f"/tmp/weir-netbox-lab-{os.geteuid()}-{name}"

    def __call__(self, *arguments):
        done = subprocess.run([str(SCRIPT), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=1800, env=self.environment)
        if done.returncode:
            raise RuntimeError(f"netbox-lab {' '.join(map(str, arguments))}: {done.stderr[-2000:]}")
        return done.stdout

    def up_alone(self, *options):
        """Brings it up on ports that nobody uses."""
        self("up", "--port", free_port(), "--fast", *options)

    def running(self):
        return "gunicorn stopped" not in self("status")

    def env(self):
        return dict(re.findall(r"^export (\w+)=(.*)$", self("env"), re.M))

    def netbox(self):
        env = self.env()
        return NetBox(env["NETBOX_URL"], env["NETBOX_TOKEN"])

    @property
    def directory(self):
        return Path(self.env()["NETBOX_LAB_DIR"])

    def access_log(self):
        return AccessLog(self.directory / "access.log").mark()


def free_port():
    """One whose neighbours for PostgreSQL and Redis, as netbox-lab chooses them, are free too."""
    for port in range(8811, 8900):
        try:
            for p in (port, port + 20000, port + 21000):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", p))
            return port
        except OSError:
            continue
    raise RuntimeError("no free port for a NetBox between 8811 and 8900")


class Connections:
    """The most connections that PostgreSQL held for NetBox's role at once. Counts its server processes: asking
    pg_stat_activity would take one of the few connections itself. `with Connections(lab) as c: …; c.peak`"""

    SERVING = re.compile(rb"postgres: netbox netbox \S+ (?!startup|authentication|initializing)")

    def __init__(self, lab):
        self.postmaster = (lab.directory / "pg/postmaster.pid").read_text().split()[0]
        self.peak = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def count(self):
        found = 0
        for pid in Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split():
            try:
                found += bool(self.SERVING.match(Path(f"/proc/{pid}/cmdline").read_bytes()))
            except OSError:  # it has ended
                pass
        return found

    def watch(self):
        while not self.done.wait(0.05):
            self.peak = max(self.peak, self.count())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


class Meanwhile:
    """Does `action` in a thread of its own once `condition` holds. `with Meanwhile(…) as m: …; m.done`: it was done."""

    def __init__(self, condition, action):
        self.condition, self.action = condition, action
        self.done, self.over, self.error = False, threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.condition():
            if self.over.wait(0.01):
                return
        try:
            self.action()
            self.done = True
        except Exception as e:  # raised again where the test sees it
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join()
        if self.error and not kind:
            raise self.error


# ---------------------------------------------------------------- clients that are not weir

def ask(netbox, method, path, body=None):
    """"ok", or what NetBox says went wrong: the exception's class, else the status."""
    answer = request(method, f"{netbox.url}/api/{path}", body, netbox.headers, timeout=120)
    if answer.status < 400:
        return "ok"
    try:
        return answer.json()["exception"]
    except (ValueError, KeyError, TypeError):
        return str(answer.status)


def plain_client(netbox, requests, threads):
    """What was done before weir: a request per object, batches of ten without a pause, and as many in flight as there
    are threads. How often each answer came."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        answers = []
        for first in range(0, len(requests), 10):
            answers += [pool.submit(ask, netbox, *r) for r in requests[first:first + 10]]
        return collections.Counter(a.result() for a in answers)


def first_fix(netbox, requests, attempts=4):
    """The fix of that day, to the letter: five single requests one after the other, 200 ms, four attempts with a backoff
    that doubles from half a second. (How often each answer came, how many requests were given up.)"""
    answers, lost = collections.Counter(), 0
    for number, r in enumerate(requests):
        if number and number % 5 == 0:
            time.sleep(0.2)
        for attempt in range(attempts):
            answer = ask(netbox, *r)
            answers[answer] += 1
            if answer == "ok":
                break
            if attempt + 1 < attempts:
                time.sleep(0.5 * 2 ** attempt)
        else:
            lost += 1
    return answers, lost

