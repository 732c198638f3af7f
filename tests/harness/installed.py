"""weir's packages in a Debian of their own: a root with what they depend on and nothing else, made of this machine's packages.

Needs root, mount namespaces and dpkg; `enter()` says so and ends with 77 (skipped) where they are not to be had.
"""
import ctypes
import ctypes.util
import errno
import fcntl
import json
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

SKIPPED = 77
SERVICE_UID = 61234  # as systemd's DynamicUser= takes them: no name, in no group
STATE = "var/lib/weir"
# What dpkg and the packages of the root itself write when anything is installed.
BOOKKEEPING = re.compile(r"var/lib/dpkg/|var/log/|var/cache/|var/lib/dpkg$|etc/ld\.so\.cache$|tmp(/|$)|run(/|$)|dev/|proc/")


def skip(why):
    print(f"SKIPPED: {why}", flush=True)
    sys.exit(SKIPPED)


def enter(network):
    """Goes on in a mount namespace of its own; `network=False`: also in a network namespace that has loopback only."""
    if not shutil.which("dpkg-deb") or not Path("/var/lib/dpkg/status").exists():
        skip("this is no Debian (dpkg)")
    if os.geteuid() != 0:
        skip("a root of its own can only be made by root")
    if os.environ.get("WEIR_TEST_NAMESPACE") != "1":
        command = ["unshare", "--mount", "--propagation", "private"] + ([] if network else ["--net"])
        if not shutil.which("unshare") or subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
            skip("namespaces are not to be had here (unshare --mount --net)")
        os.environ["WEIR_TEST_NAMESPACE"] = "1"
        os.execvp("unshare", [*command, sys.executable, "-B", *sys.argv])
    if not network:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
            fcntl.ioctl(s, 0x8914, request)  # SIOCSIFFLAGS


# ---------------------------------------------------------------- what is installed here

def paragraphs(text):
    for part in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): ?(.*(?:\n[ \t].*)*)", part, re.M))
        if "Package" in fields:
            yield fields, part


class Debian:
    """This machine's packages."""

    def __init__(self):
        self.status, self.provided = {}, {}
        for fields, text in paragraphs(Path("/var/lib/dpkg/status").read_text()):
            if fields.get("Status") != "install ok installed":
                continue
            self.status[fields["Package"]] = (fields, text)
            for name in re.findall(r"([a-z0-9][a-z0-9+.-]+)", re.sub(r"\([^)]*\)", "", fields.get("Provides", ""))):
                self.provided.setdefault(name, fields["Package"])

    def closure(self, *dependencies):
        """The essential packages, and all that these fields ask for."""
        wanted = [name for name, (fields, _) in self.status.items() if fields.get("Essential") == "yes"]
        todo = [*wanted, *(self.choose(d) for d in dependencies for d in d.split(",") if d.strip())]
        found = set()
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            fields = self.status[name][0]
            for field in ("Pre-Depends", "Depends"):
                todo += [self.choose(d) for d in fields.get(field, "").split(",") if d.strip()]
        return found

    def choose(self, alternatives):
        for one in alternatives.split("|"):
            name = re.match(r"\s*([a-z0-9][a-z0-9+.-]+)", one)[1]
            if name in self.status:
                return name
            if name in self.provided:
                return self.provided[name]
        raise RuntimeError(f"not installed here: {alternatives.strip()}")

    @staticmethod
    def info(name):
        return [p for p in Path("/var/lib/dpkg/info").glob(f"{name}[.:]*") if re.fullmatch(re.escape(name) + r"(:[a-z0-9]+)?\.[a-z]+", p.name)]

    def files(self, name):
        for list_file in self.info(name):
            if list_file.suffix == ".list":
                return list_file.read_text().splitlines()
        raise RuntimeError(f"no list of files: {name}")


class Root:
    """The packages' root folder, on a tmpfs that goes with the namespace."""

    LEFT_OUT = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/", "/usr/lib/python", "/usr/share/perl")

    def __init__(self, path, packages):
        self.path = Path(path)
        self.path.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "none", str(self.path)], check=True)
        debian = Debian()
        fields = [dict(re.findall(r"^([A-Za-z-]+): ?(.*)$", control(p), re.M)) for p in packages]
        own = {f["Package"] for f in fields}
        depends = ",".join(f.get("Depends", "") for f in fields)
        depends = ",".join(d for d in depends.split(",") if d.strip() and d.split()[0] not in own)
        self.packages = sorted(debian.closure(depends))
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.path / "usr" / name).mkdir(parents=True, exist_ok=True)
            (self.path / name).symlink_to(f"usr/{name}")
        for package in self.packages:
            for file in debian.files(package):
                if not file.startswith(self.LEFT_OUT):
                    self.copy(Path(file))
        shutil.copytree("/etc/alternatives", self.path / "etc/alternatives", symlinks=True, dirs_exist_ok=True)
        dpkg = self.path / "var/lib/dpkg"
        for folder in ("info", "updates", "triggers", "parts"):
            (dpkg / folder).mkdir(parents=True, exist_ok=True)
        (dpkg / "status").write_text("\n\n".join(debian.status[p][1] for p in self.packages) + "\n\n")
        for package in self.packages:
            for file in debian.info(package):
                shutil.copy2(file, dpkg / "info" / file.name)
        (dpkg / "info/format").write_text("1\n")
        for file in ("passwd", "group"):
            shutil.copy(f"/usr/share/base-passwd/{file}.master", self.path / "etc" / file)
        for folder, mode in (("dev", 0o755), ("proc", 0o555), ("run", 0o755), ("tmp", 0o1777), ("var/log", 0o755), ("root", 0o700), ("usr/local/lib", 0o755)):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
            (self.path / folder).chmod(mode)
        for device in ("null", "zero", "urandom", "random"):
            (self.path / "dev" / device).touch()
            subprocess.run(["mount", "--bind", f"/dev/{device}", self.path / "dev" / device], check=True)
        (self.path / "dev/fd").symlink_to("/proc/self/fd")
        # As ProcSubset=pid and ProtectProc=invisible leave it.
        if subprocess.run(["mount", "-t", "proc", "-o", "subset=pid,hidepid=invisible", "proc", self.path / "proc"], capture_output=True).returncode:
            subprocess.run(["mount", "-t", "proc", "proc", self.path / "proc"], check=True)
        subprocess.run(["/sbin/ldconfig", "-r", str(self.path)], check=True)
        (self.path / "debs").mkdir()
        for package in packages:
            shutil.copy(package, self.path / "debs")

    def copy(self, file):
        to = self.path / file.relative_to("/")
        about = file.lstat() if os.path.lexists(file) else None
        if about is None or os.path.lexists(to) and not stat.S_ISDIR(about.st_mode):
            return
        if stat.S_ISDIR(about.st_mode) and not file.is_symlink():
            to.mkdir(parents=True, exist_ok=True)
            to.chmod(stat.S_IMODE(about.st_mode))
        elif stat.S_ISLNK(about.st_mode):
            if not to.parent.exists():
                to.parent.mkdir(parents=True)
            if file.parts[1] in ("bin", "sbin", "lib", "lib64") and len(file.parts) == 2:
                return
            to.symlink_to(os.readlink(file))
        elif stat.S_ISREG(about.st_mode):
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, to)

    # ---- what goes on in it

    def start(self, *command, env=None, prepare=None):
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", **(env or {})}

        def become():
            os.chroot(self.path)
            os.chdir("/")
            if prepare:
                prepare()

        return subprocess.Popen([str(c) for c in command], env=environment, preexec_fn=become, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def run(self, *command, env=None, prepare=None, timeout=120):
        with self.start(*command, env=env, prepare=prepare) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def dpkg(self, *arguments):
        done = self.run("dpkg", *arguments, env={"DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode:
            raise AssertionError(f"dpkg {arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def install(self, *names):
        return self.dpkg("-i", *(f"/debs/{p.name}" for n in names for p in (self.path / "debs").glob(f"{n}_*.deb")))

    def listing(self):
        """{path: what it is}, of everything that stays and is not dpkg's own."""
        found = {}
        for folder, folders, files in os.walk(self.path):
            inside = Path(folder).relative_to(self.path)
            for name in [*folders, *files]:
                path = inside / name
                about = (self.path / path).lstat()
                text = str(path)
                if BOOKKEEPING.match(text) or text == "debs" or text.startswith("debs/"):
                    continue
                found[text] = (stat.S_IFMT(about.st_mode), stat.S_IMODE(about.st_mode), about.st_uid,
                               about.st_size if stat.S_ISREG(about.st_mode) else 0)
            folders[:] = [f for f in folders if not BOOKKEEPING.match(str(inside / f) + "/") and str(inside / f) not in ("proc", "dev", "debs")]
        return found

    def close(self):
        subprocess.run(["umount", "-R", "-l", str(self.path)], check=False)


def control(package):
    return subprocess.run(["dpkg-deb", "-f", str(package)], check=True, capture_output=True, text=True).stdout


# ---------------------------------------------------------------- a unit, without systemd

def unit_lines(text):
    """{key: [values in order]} of a unit's file."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z]+)=(.*)$", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def system_calls(unit):
    """The calls that SystemCallFilter= leaves, as systemd's own sets say; None where systemd-analyze is not installed."""
    if not shutil.which("systemd-analyze"):
        return None

    def members(name):
        done = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        out = set()
        for word in re.findall(r"^\s+([@a-z0-9_-]+)\s*$", done.stdout, re.M):
            out |= members(word) if word.startswith("@") else {word}
        return out

    allowed = set()
    for number, line in enumerate(unit["SystemCallFilter"]):
        words = set()
        for word in line.lstrip("~").split():
            words |= members(word) if word.startswith("@") else {word}
        if number == 0:
            allowed |= members("@default")
        allowed = allowed - words if line.startswith("~") else allowed | words
    return allowed


class Sandbox:
    """What a unit takes from its service, as far as it can be had without systemd: another user without capabilities, no new
    privileges, its calls, its address families, no memory that is written and run, no namespaces. `prepare` goes into the child."""

    ALLOW, ERRNO = 0x7FFF0000, 0x00050000

    class compare(ctypes.Structure):
        _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

    def __init__(self, unit):
        self.library = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2", use_errno=True)
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.filters = []
        refuse = self.ERRNO | errno.EPERM
        families = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
        if wanted := unit.get("RestrictAddressFamilies"):
            known = [families[f] for f in wanted[-1].split()]
            rules = [("socket", self.ERRNO | errno.EAFNOSUPPORT, [(0, 6, max(known), 0)])]
            rules += [("socket", self.ERRNO | errno.EAFNOSUPPORT, [(0, 4, n, 0)]) for n in range(max(known)) if n not in known]
            self.add(self.ALLOW, rules)
        rules = []
        if unit["MemoryDenyWriteExecute"] == ["yes"]:
            rules += [("mmap", refuse, [(2, 7, 2 | 4, 2 | 4)]), ("mprotect", refuse, [(2, 7, 4, 4)]), ("pkey_mprotect", refuse, [(2, 7, 4, 4)]),
                      ("shmat", refuse, [(2, 7, 0o100000, 0o100000)])]
        if unit["RestrictNamespaces"] == ["yes"]:
            rules += [("unshare", refuse, []), ("setns", refuse, []), ("clone3", self.ERRNO | errno.ENOSYS, [])]
            rules += [("clone", refuse, [(0, 7, flag, flag)]) for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)]
        if unit["RestrictSUIDSGID"] == ["yes"]:
            rules += [(call, refuse, [(at, 7, bit, bit)]) for call, at in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2))
                      for bit in (0o4000, 0o2000)]
        self.add(self.ALLOW, rules)
        self.allowed = system_calls(unit)
        if self.allowed is not None:
            self.add(refuse, [(call, self.ALLOW, []) for call in sorted(self.allowed)])

    def add(self, otherwise, rules):
        context = ctypes.c_void_p(self.library.seccomp_init(otherwise))
        assert context.value, "seccomp_init"
        for call, action, conditions in rules:
            number = self.library.seccomp_syscall_resolve_name(call.encode())
            if number >= 0:
                listed = (self.compare * max(1, len(conditions)))(*conditions)
                wrong = self.library.seccomp_rule_add_array(context, action, number, len(conditions), listed)
                assert wrong == 0, (call, conditions, wrong)
        self.filters.append(context)

    def prepare(self):
        os.setgroups([])
        os.setresgid(SERVICE_UID, SERVICE_UID, SERVICE_UID)
        os.setresuid(SERVICE_UID, SERVICE_UID, SERVICE_UID)
        os.umask(0o077)
        assert self.libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        for context in self.filters:
            assert self.library.seccomp_load(context) == 0


class Service:
    """An installed unit, weir.service if no other, run by hand: its commands, its user, its sandbox, its credentials, its state."""

    def __init__(self, root, name="weir.service"):
        self.root = root
        self.unit = unit_lines((root.path / "usr/lib/systemd/system" / name).read_text())
        self.sandbox = Sandbox(self.unit)
        self.environment = {"STATE_DIRECTORY": f"/{STATE}", "CREDENTIALS_DIRECTORY": "/run/credentials/weir.service", "HOME": "/", "USER": "weir",
                            "LOGNAME": "weir", "INVOCATION_ID": "0" * 32}

    def configure(self, netbox_url, netbox_token, source_url, token_id, source_token):
        """The example configuration, with other addresses, and root's files with the secrets."""
        text = (self.root.path / "usr/share/doc/weir/examples/config.yaml").read_text()
        for before, after in (("https://netbox.example", netbox_url), ("[https://pve1.example:8006, https://pve2.example:8006]", f"[{source_url}]"),
                              ("sync@pve!weir", token_id)):
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        (self.root.path / "etc/weir/config.yaml").write_text(text)
        for name, secret in (("netbox-token", netbox_token), ("pve-a-token", source_token)):
            file = self.root.path / "etc/weir/credentials" / name
            file.write_text(secret + "\n")
            file.chmod(0o600)

    def load(self):
        """What systemd does before it starts anything: StateDirectory=, LoadCredential=ID:DIRECTORY."""
        state = self.root.path / STATE
        state.mkdir(exist_ok=True)
        state.chmod(int(self.unit["StateDirectoryMode"][0], 8))
        os.chown(state, SERVICE_UID, SERVICE_UID)
        (name, folder), = (line.split(":") for line in self.unit["LoadCredential"])
        to = self.root.path / "run/credentials/weir.service"
        if to.exists():
            shutil.rmtree(to)
        to.mkdir(parents=True, mode=0o700)
        os.chown(to, SERVICE_UID, SERVICE_UID)
        for file in (self.root.path / folder.lstrip("/")).iterdir():
            copy = to / f"{name}_{file.name}"
            shutil.copy(file, copy)
            copy.chmod(0o400)
            os.chown(copy, SERVICE_UID, SERVICE_UID)

    def weir(self, *arguments, timeout=300):
        return self.root.run("/usr/bin/weir", *arguments, env=self.environment, prepare=self.sandbox.prepare, timeout=timeout)

    def start(self, timeout=300):
        """As `systemctl start weir` does it: [how each command ended]."""
        self.load()
        done = []
        for line in self.unit["ExecStartPre"] + self.unit["ExecStart"]:
            program, *arguments = line.split()
            assert program == "/usr/bin/weir", line
            done.append(self.weir(*arguments, timeout=timeout))
            if done[-1].returncode:
                break
        return done


def told(done):
    return f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}"


def packages_made():
    """The .debs that the fixture made: {name: path}."""
    folder = Path(os.environ["WEIR_PACKAGES"])
    return {p.name.split("_")[0]: p for p in sorted(folder.glob("*.deb"))}


def results(done):
    return {r["stage"]: r for r in json.loads(done.stdout)["results"]}
