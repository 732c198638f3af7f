"""The units for systemd: whether systemd takes them, and how little of the system they leave to weir."""
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from installed import skip, system_calls, unit_lines  # noqa: E402
from weir_test import TREE  # noqa: E402

UNITS = TREE / "configs/systemd"
MOST_EXPOSURE = 1.2  # of 10, as systemd 252 counts; 1.1 when this was written

if not shutil.which("systemd-analyze"):
    skip("systemd-analyze is not installed (packages/test.txt)")


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=120)


class Units(unittest.TestCase):
    def setUp(self):
        """The units as they are, but for the program: it is not installed here."""
        folder = tempfile.TemporaryDirectory(prefix="weir-units-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for file in UNITS.glob("weir*"):
            (self.folder / file.name).write_text(file.read_text().replace("/usr/bin/weir", "/bin/true"))
        self.files = sorted(str(p) for p in self.folder.iterdir())

    def test_systemd_takes_them(self):
        self.assertEqual(len(self.files), 3)
        done = analyze("verify", "--man=no", "--recursive-errors=no", *self.files)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_it_would_have_said_so(self):
        wrong = self.folder / "weir.service"
        wrong.write_text(wrong.read_text().replace("Restart=on-failure", "Restart=on-failure\nRestartForceExitStatus=75"))
        done = analyze("verify", "--man=no", "--recursive-errors=no", str(wrong))
        self.assertIn("RestartForceExitStatus", done.stdout + done.stderr)

    def test_exposure(self):
        for name in ("weir.service", "weir-serve.service"):
            done = analyze("security", "--offline=true", "--no-pager", f"--threshold={round(MOST_EXPOSURE * 10)}", str(self.folder / name))
            exposure = re.search(r"Overall exposure level for \S+: ([\d.]+) (\w+)", done.stdout)
            print(f"{name}: exposure {exposure[1]} {exposure[2]}")
            self.assertLessEqual(float(exposure[1]), MOST_EXPOSURE, done.stdout)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_what_isolation_needs_is_allowed(self):
        """core/plugin/restrict.cpp and process.cpp use these, in weir and in its stages' processes."""
        for name in ("weir.service", "weir-serve.service"):
            allowed = system_calls(unit_lines((UNITS / name).read_text()))
            for call in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp", "prctl", "prlimit64", "clone",
                         "execve", "socketpair", "wait4", "kill", "capget", "openat", "flock", "fsync"):
                self.assertIn(call, allowed, name)
            for call in ("mount", "ptrace", "bpf", "setuid", "capset", "init_module", "reboot", "add_key", "perf_event_open"):
                self.assertNotIn(call, allowed, name)

    def test_both_services_have_the_same_sandbox(self):
        one, other = (unit_lines((UNITS / name).read_text()) for name in ("weir.service", "weir-serve.service"))
        part = ("Ambient", "Capability", "Device", "Dynamic", "Limit", "LoadC", "Lock", "Memory", "NoNew", "Private", "Proc", "Protect", "Remove",
                "RestrictA", "RestrictN", "RestrictR", "RestrictS", "State", "SystemCall", "UMask", "User")
        keys = {k for k in one if k.startswith(part)}
        self.assertGreater(len(keys), 30)
        self.assertEqual({k: one[k] for k in keys}, {k: other.get(k) for k in keys})

    def test_exit_codes_are_weirs(self):
        header = (TREE / "core/cli/exit_codes.hpp").read_text()
        codes = {int(n) for n in re.findall(r"inline constexpr int \w+ = (\d+);", header)} | {2}
        unit = unit_lines((UNITS / "weir.service").read_text())
        kept = {int(n) for n in unit["RestartPreventExitStatus"][0].split()} | {int(unit["SuccessExitStatus"][0])}
        # All but success, and those that time heals.
        self.assertEqual(codes - kept, {0, 1, 69, 75} - kept)


if __name__ == "__main__":
    unittest.main(verbosity=2)
