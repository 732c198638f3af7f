"""A scripted stand-in for `weir serve`: its API as docs/serve.md has it, with whatever state a test sets. Stdlib only."""
import copy
import datetime
import http.server
import json
import math
import queue
import socket
import threading
import time
import urllib.parse
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "core/serve/page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
COLUMNS = ["t", "in_flight", "limit", "gap_ms", "requests_per_second", "inflation", "breaker", "errors"]


def at(seconds=0.0):
    """A time so many seconds from now, as the service writes it."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Service:
    """Set .status, .runs, .details, .plan, .gate, .token; publish() sends an event; .posts holds what was asked for."""

    def __init__(self, state, token=None):
        self.__dict__.update(copy.deepcopy(state))
        self.token = token
        self.posts = []
        self.gets = []
        self.answers = {}  # (method, path) -> (status, body): instead of the usual
        self.on_post = None
        self.streams = []
        self.connections = set()
        self.lock = threading.Lock()
        self.server = None
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with service.lock:
                    service.connections.add(self.connection)

            def finish(self):
                with service.lock:
                    service.connections.discard(self.connection)
                super().finish()

            def log_message(self, *_):
                pass

            def do_GET(self):
                service.get(self)

            def do_POST(self):
                service.post(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                pass  # the browser went away

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """As if the service were gone: nobody listens, the streams are cut."""
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        with self.lock:
            streams, self.streams = self.streams, []
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)  # also those that are kept alive
                except OSError:
                    pass
        for stream in streams:
            stream.put(None)

    def publish(self, name, data):
        with self.lock:
            for stream in self.streams:
                stream.put((name, json.dumps(data)))

    def publish_status(self):
        self.status["now"] = at()
        self.publish("status", self.status)

    # --- what it answers

    def send(self, to, code, body, kind="application/json", more=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        to.send_response(code)
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(body))), ("X-Content-Type-Options", "nosniff"),
                            ("Cache-Control", "no-store"), ("Content-Security-Policy", "default-src 'self'"), *more]:
            to.send_header(name, value)
        to.end_headers()
        to.wfile.write(body)

    def refused(self, to):
        if self.token is None or to.headers.get("Authorization") == f"Bearer {self.token}":
            return False
        self.send(to, 401, {"error": "a token is needed", "hint": "Authorization: Bearer …"}, more=[("WWW-Authenticate", "Bearer")])
        return True

    def get(self, to):
        path = urllib.parse.urlsplit(to.path).path
        self.gets.append(path)
        file = PAGE / ("index.html" if path == "/" else path[1:])
        if file.parent == PAGE and file.suffix in TYPES and file.is_file():
            return self.send(to, 200, file.read_bytes(), TYPES[file.suffix])
        if self.refused(to):
            return None
        if ("GET", path) in self.answers:
            return self.send(to, *self.answers["GET", path])
        if path == "/events":
            return self.events(to)
        if path == "/status":
            self.status["now"] = at()
            return self.send(to, 200, self.status)
        if path == "/runs":
            return self.send(to, 200, {"runs": self.runs})
        if path == "/gate":
            return self.send(to, 200, self.gate)
        if path == "/plan" and self.plan:
            return self.send(to, 200, self.plan)
        if path.startswith("/runs/"):
            name = path.split("/")[2]
            for run in self.runs:
                if run["id"] == name:
                    return self.send(to, 200, {**run, **self.details.get(name, {"stages": [], "changes": [], "more": 0})})
        return self.send(to, 404, {"error": f"there is no {path}", "hint": ""})

    def post(self, to):
        body = json.loads(to.rfile.read(int(to.headers.get("Content-Length", 0))) or b"null")
        if self.refused(to):
            return
        path = urllib.parse.urlsplit(to.path).path
        self.posts.append((path, body))
        code, answer = self.answers.get(("POST", path), (202, {"id": "c0ffee01"}))
        if self.on_post:
            self.on_post(path, body)
        self.send(to, code, answer)

    def events(self, to):
        mine = queue.Queue()
        to.send_response(200)
        to.send_header("Content-Type", "text/event-stream")
        to.send_header("Cache-Control", "no-store")
        to.send_header("Connection", "close")
        to.end_headers()
        to.close_connection = True
        self.status["now"] = at()
        to.wfile.write(f"retry: 500\n\nevent: status\ndata: {json.dumps(self.status)}\n\n".encode())
        to.wfile.flush()
        with self.lock:
            self.streams.append(mine)
        try:
            while (event := mine.get()) is not None:
                to.wfile.write(f"event: {event[0]}\ndata: {event[1]}\n\n".encode())
                to.wfile.flush()
        except OSError:
            pass
        finally:
            with self.lock:
                if mine in self.streams:
                    self.streams.remove(mine)


# ---------------------------------------------------------------- states

NETBOX = "https://netbox.example"


def run(identity, command="sync", trigger="schedule hourly", state="done", code=0, ago=600, took=42.0, reason="", **counts):
    return {"id": identity, "command": command, "trigger": trigger, "state": state, "exit_code": code, "started": at(-ago),
            "ended": None if state == "running" else at(-ago + took), "seconds": took, "profile": "conservative", "created": 0, "updated": 0,
            "deleted": 0, "failed": 0, "deferred": 0, "reason": reason, **counts}


def job(source, stage, title, state="waiting", **more):
    return {"source": source, "stage": stage, "title": title, "state": state, "note": "", "done": 0, "total": 0, "batch": 0, "batches": 0,
            "planned": None, "seconds": 0, "reason": "", **more}


def gate_now(**more):
    return {"in_flight": 0, "waiting": 0, "limit": 4, "ceiling": 4, "gap_ms": 50, "tokens": 20, "inflation": 1.0, "breaker": "closed",
            "breaker_opened": 0, "starved": False, "gave_up": False, "refused": 0, "requests_per_second": 0, "control": "adaptive", **more}


def gate_samples(minutes=30, trouble=False):
    """A day's shape in half an hour: a pause, a run, a pause, a run, as far as `busy` says; with `trouble` an outage in the last five minutes."""
    samples = []
    now = int(time.time()) * 1000
    for i in range(minutes * 60):
        left = minutes * 60 - i
        t = now - left * 1000
        busy = left < 260 or 900 < left < 1500
        wave = math.sin(i / 17) + math.sin(i / 5.3) * 0.5
        limit = 4.0 if not busy else max(1.0, min(4.0, 2.6 + wave))
        rate = max(0.0, 9 + 5 * wave) if busy else 0.0
        gap = (50 + (40 if wave < -1 else 0)) if busy else 50
        flight = min(round(limit), 1 + (i * 7 % 4)) if busy else 0
        breaker = errors = 0
        if trouble and left < 200:
            limit, gap = 1.0, 400
            rate, flight = (1.1 if i % 3 else 2.0), i % 2
            errors = 1 if left > 185 or i % 31 == 0 else 0
            if 90 < left < 185:
                breaker, rate, flight, errors = 2, 0.0, 0, 0
            elif 75 < left <= 90:
                breaker = 1
        if not busy and breaker == 0:
            samples.append([t, 0, None, None, 0.0, None, 0, 0])
            continue
        samples.append([t, flight, round(limit, 2), gap, round(rate, 2), round(1 + max(0, -wave) * 0.4, 2), breaker, errors])
    return {"ceiling": 4, "columns": COLUMNS, "samples": samples}


def base():
    return {
        "status": {
            "weir": "0.1.0", "started": at(-86400 * 3), "now": at(), "state": "idle", "netbox": {"url": NETBOX, "version": "4.6.8"},
            "config": {"file": "/etc/weir/config.yaml", "loaded": at(-86400 * 3), "error": None},
            "profile": {"name": "aggressive", "description": "dedicated NetBox, 50 or more connections, few users",
                        "batch": {"size": 10, "delay_ms": 50, "objects_per_request": 100}, "max_in_flight": 4, "requests_per_second": 50},
            "run": None, "gate": None, "errors": [],
            "schedules": [
                {"name": "hourly", "cron": "7 * * * *", "every_s": None, "jitter_s": 60, "command": "sync", "sources": [], "stages": [], "next": at(754),
                 "last": {"run": "7f3a0c1d", "at": at(-600), "exit_code": 0}, "refused": 0},
                {"name": "backups", "cron": None, "every_s": 900, "jitter_s": 0, "command": "sync", "sources": ["pve-a"], "stages": ["backups"], "next": at(95),
                 "last": {"run": "51d0aa02", "at": at(-805), "exit_code": 75}, "refused": 2},
                {"name": "look", "cron": "0 6 * * 1", "every_s": None, "jitter_s": 0, "command": "plan", "sources": [], "stages": [], "next": at(86400 * 4), "last": None, "refused": 0},
            ],
            "runs": {"started": 214, "ended": 214, "refused": 2, "by_exit_code": {"0": 209, "3": 3, "75": 2}},
            "plan": None,
        },
        "runs": [
            run("7f3a0c1d", created=37, updated=6, deleted=12, ago=642),
            run("aa10be77", command="resume", trigger="http", ago=1500, took=96.4, created=1461),
            run("51d0aa02", trigger="schedule backups", state="resumed", code=75, ago=1900, took=311.0, created=450, deferred=1461, reason="NetBox's database had no connection to spare"),
            run("0be5ff19", state="partly", code=3, ago=4242, took=51.7, updated=5, failed=2, reason="2 objects were refused by NetBox"),
            run("99c2d4e0", command="plan", trigger="http", ago=5000, took=8.2, created=2, updated=2, deleted=1),
            run("13a7c0de", ago=7842, took=12.9),
            run("f00dfeed", state="failed", code=69, ago=11442, took=3.1, reason="https://pve1.example:8006 cannot be reached: connection refused"),
            run("2b2b2b2b", ago=86400 + 4000, took=1290.0, created=2128),
        ],
        "details": {"7f3a0c1d": details(55), "0be5ff19": {
            "stages": [stage("nodes", "done"), stage("virtual-machines", "done", updated=5, failed=2), stage("backups", "done")],
            "changes": [change(n, "update") for n in range(5)] + [
                {**change(7, "update"), "state": "failed", "reason": "vcpus: Ensure that this value is greater than or equal to 0.01."},
                {**change(8, "create"), "url": None, "state": "failed", "reason": "name: Virtual machine name must be unique per cluster."}], "more": 0}},
        "plan": None,
        "gate": gate_samples(),
    }


def stage(name, state, reason="", **counts):
    return {"source": "pve-a", "stage": name, "state": state, "created": 0, "updated": 0, "deleted": 0, "failed": 0, "deferred": 0, "reason": reason, **counts}


def change(n, action="create", stage_name="virtual-machines"):
    return {"source": "pve-a", "stage": stage_name, "kind": "virtualization.virtualmachine" if stage_name != "backups" else "netbox_proxbox.vmbackup",
            "action": action, "label": f"web-{n:02}" if stage_name != "backups" else f"pbs-1:backup/vm/{100 + n}/2026-11-22T03:00:00Z",
            "url": f"{NETBOX}/virtualization/virtual-machines/{n + 100}/", "state": "done", "reason": ""}


def details(how_many):
    made = [change(n, "create", "backups") for n in range(how_many - 18)] + [change(n, "update") for n in range(6)] + \
        [{**change(n, "delete", "backups"), "url": None} for n in range(60, 72)]
    return {"stages": [stage("nodes", "done"), stage("virtual-machines", "done", updated=6), stage("backups", "done", created=how_many - 18, deleted=12)],
            "changes": made, "more": 0}


def running_jobs():
    return [
        job("pve-a", "nodes", "Proxmox nodes as devices", "ok", done=3, total=3, batch=0, planned={"create": 0, "update": 0, "delete": 0, "requests": 0}, seconds=1.4),
        job("pve-a", "virtual-machines", "Virtual machines", "writing", done=61, total=214, batch=2, batches=5, seconds=18.2,
            planned={"create": 120, "update": 93, "delete": 1, "requests": 5}),
        job("pve-b", "nodes", "Proxmox nodes as devices", "ok", done=2, total=2, planned={"create": 0, "update": 1, "delete": 0, "requests": 1}, seconds=2.0),
        job("pve-b", "virtual-machines", "Virtual machines", "collecting", done=88, total=0, note="reading guest configurations", seconds=9.1),
        job("pve-a", "backups", "Backups", "waiting"),
        job("pve-b", "backups", "Backups", "skipped", reason="NetBox has no plugin netbox-proxbox"),
    ]


def running(jobs=None, **more):
    return {"id": "c0ffee01", "command": "sync", "trigger": "schedule hourly", "started": at(-21), "seconds": 21.3, "cancelling": False,
            "jobs": running_jobs() if jobs is None else jobs, **more}


def with_run(state, **gate):
    state["status"].update(state="running", run=running(), gate=gate_now(in_flight=3, waiting=12, limit=3.4, requests_per_second=12.6, gap_ms=50, inflation=1.2, **gate))
    state["runs"].insert(0, run("c0ffee01", state="running", code=None, ago=21, took=21.3, created=61))
    return state


def idle():
    return base()


def run_under_way():
    return with_run(base())


def breaker_open():
    state = with_run(base())
    state["status"]["gate"] = gate_now(in_flight=0, waiting=4, limit=1, gap_ms=400, tokens=3, inflation=1.0, breaker="open", breaker_opened=2, refused=9)
    state["status"]["run"]["jobs"][1].update(note="waiting: the breaker is open")
    state["status"]["errors"] = [error(-12, "virtual-machines", "PATCH /api/virtualization/virtual-machines/ answered 503 Service Unavailable five times in a row",
                                       "NetBox is restarting or overloaded; weir probes by itself")]
    state["gate"] = gate_samples(trouble=True)
    state["gate"]["samples"] = [s for s in state["gate"]["samples"] if s[0] < (time.time() - 110) * 1000]
    return state


def poisoned():
    state = breaker_open()
    state["status"]["gate"] = gate_now(in_flight=1, waiting=4, limit=1, gap_ms=1000, tokens=11, starved=True, refused=31, requests_per_second=0.9, breaker_opened=1)
    state["gate"] = gate_samples(trouble=True)
    state["status"]["errors"].insert(0, error(-4, "", "NetBox's database has no connection to spare: requests fail at once, one at a time, too",
                                              "restart NetBox's workers (systemctl restart netbox); then give it fewer gunicorn threads or PostgreSQL a higher max_connections"))
    return state


def error(ago, stage_name, message, hint="", level="error", run_id="c0ffee01"):
    return {"at": at(ago), "run": run_id, "source": "pve-a" if stage_name else "", "stage": stage_name, "level": level, "message": message, "hint": hint}


def plan_changes():
    return [
        {"source": "pve-a", "stage": "virtual-machines", "kind": "virtualization.virtualmachine", "action": "create", "label": "web-07", "url": None, "fields": [
            {"field": "cluster", "before": "", "after": "pve-a"}, {"field": "vcpus", "before": "", "after": "4"},
            {"field": "memory", "before": "", "after": "8192"}, {"field": "disk", "before": "", "after": "40960"}]},
        {"source": "pve-a", "stage": "virtual-machines", "kind": "virtualization.virtualmachine", "action": "update", "label": "mail", "url": f"{NETBOX}/virtualization/virtual-machines/3/",
         "fields": [{"field": "memory", "before": "4096", "after": "8192"}, {"field": "status", "before": "active", "after": "offline"}]},
        {"source": "pve-a", "stage": "virtual-machines", "kind": "virtualization.virtualmachine", "action": "update", "label": "git", "url": f"{NETBOX}/virtualization/virtual-machines/4/",
         "fields": [{"field": "disk", "before": "81920", "after": "122880"}, {"field": "tags", "before": "prod", "after": "prod, backup"}, {"field": "description", "before": "", "after": "Git, and the runners"}]},
        {"source": "pve-a", "stage": "backups", "kind": "netbox_proxbox.vmbackup", "action": "create", "label": "pbs-1:backup/vm/104/2026-11-22T03:00:00Z", "url": None,
         "fields": [{"field": "size", "before": "", "after": "4294967296"}, {"field": "verification_state", "before": "", "after": "ok"}]},
        {"source": "pve-a", "stage": "backups", "kind": "netbox_proxbox.vmbackup", "action": "delete", "label": "pbs-1:backup/vm/104/2026-10-11T03:00:00Z", "url": f"{NETBOX}/plugins/proxbox/backups/17/", "fields": []},
    ]


def plan_waiting():
    state = base()
    state["status"]["plan"] = {"run": "99c2d4e0", "made": at(-200), "create": 2, "update": 2, "delete": 1, "requests": 5}
    row = {"source": "pve-a", "unchanged": 0}
    state["plan"] = {"run": "99c2d4e0", "made": at(-200), "changes": plan_changes(), "more": 0, "stages": [
        {**row, "stage": "nodes", "title": "Proxmox nodes as devices", "create": 0, "update": 0, "delete": 0, "unchanged": 3, "requests": 0},
        {**row, "stage": "virtual-machines", "title": "Proxmox guests as virtual machines", "create": 1, "update": 2, "delete": 0, "unchanged": 211, "requests": 3},
        {**row, "stage": "backups", "title": "Backups", "create": 1, "update": 0, "delete": 1, "unchanged": 1874, "requests": 2}]}
    return state


CONFIG_ERROR = """error: serve.schedules.hourly.cron must have five fields, has 4
  --> /etc/weir/config.yaml:31:13
   |
31 |       cron: "7 * * *"
   |             ^^^^^^^^^ minute hour day-of-month month day-of-week
"""


def errors():
    state = base()
    state["status"]["config"]["error"] = {"at": at(-65), "message": CONFIG_ERROR}
    state["status"]["errors"] = [
        error(-90, "virtual-machines", "web-03: vcpus: Ensure that this value is greater than or equal to 0.01.", "correct it in Proxmox VE; the other objects were written", run_id="0be5ff19"),
        error(-3600, "backups", "storage nfs-old on pve2 is offline: its backups are left as they are", "", "warning", "0be5ff19"),
        error(-11000, "", "https://pve1.example:8006 cannot be reached: connection refused", "is pveproxy running there? weir tries the other addresses of the cluster, too", run_id="f00dfeed")]
    state["runs"].insert(0, run("dead0001", state="stopped", code=75, ago=300, took=61.0, created=50, deferred=164, reason="the breaker did not close in time"))
    return state


HOSTILE = ['<img src=x onerror="window.hacked=1">', "</script><script>window.hacked=1</script>", '"><svg onload=window.hacked=1>', "\u202eevil\u202c \u2066x", "javascript:window.hacked=1",
           "A" * 300, "{{constructor.constructor('window.hacked=1')()}}", "<a href='javascript:window.hacked=1'>x</a>"]


def hostile():
    state = plan_waiting()
    status = state["status"]
    bad = HOSTILE[0]
    jobs = [job(label, label, label, "writing", done=1, total=3, note=label, planned={"create": 1, "update": 2, "delete": 0, "requests": 1}) for label in HOSTILE]
    jobs[2].update(state="failed", reason=HOSTILE[1])
    status.update(state="running", run=running(jobs, trigger=bad), errors=[error(-i, label, label, label) for i, label in enumerate(HOSTILE)])
    status["netbox"] = {"url": "javascript:window.hacked=1", "version": bad}
    status["profile"].update(name=bad, description=HOSTILE[1])
    status["config"] = {"file": bad, "loaded": at(-5), "error": {"at": at(-4), "message": HOSTILE[1]}}
    for schedule, label in zip(status["schedules"], HOSTILE):
        schedule.update(name=label, sources=[label], stages=[label], cron=label)
    state["runs"][0].update(trigger=bad, reason=HOSTILE[1], profile=bad)
    state["details"]["7f3a0c1d"] = {"stages": [stage(label, "failed", label) for label in HOSTILE], "more": 3, "changes": [
        {"source": label, "stage": label, "kind": label, "action": "update", "label": label, "url": "javascript:window.hacked=1", "state": "failed", "reason": label} for label in HOSTILE]}
    state["plan"]["changes"] = [{"source": label, "stage": label, "kind": label, "action": "update", "label": label, "url": "data:text/html,<script>window.hacked=1</script>",
                                 "fields": [{"field": label, "before": label, "after": {"x": label}}]} for label in HOSTILE]
    for row in state["plan"]["stages"]:
        row.update(title=bad, source=HOSTILE[1])
    return state


def many():
    state = base()
    labels = [change(n, ("create", "update", "delete")[n % 3], ("virtual-machines", "backups")[n % 2]) for n in range(1000)]
    state["details"]["7f3a0c1d"] = {"stages": [stage("virtual-machines", "done", created=500), stage("backups", "done", created=500)], "changes": labels, "more": 1128}
    state["plan"] = {"run": "99c2d4e0", "made": at(-200), "more": 4000, "stages": [{"source": "pve-a", "stage": "backups", "title": "Backups", "create": 5000, "update": 0, "delete": 0, "unchanged": 0, "requests": 50}],
                     "changes": [{**change(n, "create", "backups"), "fields": [{"field": "size", "before": "", "after": str(n)}]} for n in range(1000)]}
    state["status"]["plan"] = {"run": "99c2d4e0", "made": at(-200), "create": 5000, "update": 0, "delete": 0, "requests": 50}
    return state
