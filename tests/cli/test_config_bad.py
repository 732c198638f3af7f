#!/usr/bin/env python3
"""Each wrong configuration of bad_configs/, and what weir says about it, word for word.

NAME.yaml is validated without the network, with the options of NAME.args and the variables of NAME.env; NAME.expected is
what it says. WEIR_UPDATE_GOLDEN=1 writes the latter anew: read it then, as somebody would at 03:00."""
import os
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "bad_configs"
TREE = FOLDER.parents[2]
WEIR = Path(os.environ.get("WEIR_BINARY", TREE / "build/release/weir"))
UPDATE = os.environ.get("WEIR_UPDATE_GOLDEN") == "1"
LEAST = 60
SECRETS = ("0123456789abcdef", "1234567890\n", "hunter2", "01234567-89ab", "env-secret")


class bad_configs(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="weir-bad-")
        cls.folder = Path(cls.temporary.name).resolve() / "etc"
        shutil.copytree(FOLDER, cls.folder)
        for path in cls.folder.rglob("*"):  # what a checkout makes of modes is not what is tested
            if path.is_file():
                path.chmod(0o600 if path.parent.name == "secrets" and path.name != "open" else 0o644)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def say(self, name):
        """What weir prints for this one, and its exit code."""
        own = self.folder / f"{name}.env"
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "NETBOX_TOKEN": "env-secret-1",
               "PVE_TOKEN": "env-secret-2"}
        env.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "TSAN_", "LSAN_"))})
        if own.exists():
            for line in own.read_text().splitlines():
                key, value = line.split("=", 1)
                env[key] = value.replace("DIR", str(self.folder))
        arguments = self.folder / f"{name}.args"
        more = arguments.read_text().splitlines() if arguments.exists() else []
        done = subprocess.run([WEIR, "validate", "--no-network", "--config", f"{name}.yaml", *more], env=env,
                              cwd=self.folder, capture_output=True, text=True, timeout=120)
        profiles = str((WEIR.parent / "profiles").resolve())
        said = done.stderr.replace(str(self.folder), "DIR").replace(str(WEIR.resolve().parent / "profiles"), "PROFILES")
        return done.returncode, done.stdout, said.replace(profiles, "PROFILES")

    def test_each_says_what_is_wrong(self):
        names = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        self.assertGreaterEqual(len(names), LEAST)
        with ThreadPoolExecutor(2) as pool:
            said = dict(zip(names, pool.map(self.say, names)))
        for name, (code, out, err) in said.items():
            with self.subTest(name):
                self.assertEqual(code, 78, err)
                self.assertEqual(out, "")
                self.assertIn("error: ", err)
                for secret in SECRETS:
                    self.assertNotIn(secret, err)
                golden = FOLDER / f"{name}.expected"
                if UPDATE:
                    golden.write_text(err)
                self.assertTrue(golden.exists(), f"{golden.name} is missing; WEIR_UPDATE_GOLDEN=1 makes it")
                self.assertEqual(err, golden.read_text(), f"{name}.yaml; WEIR_UPDATE_GOLDEN=1 takes over what is meant")

    def test_no_golden_is_left_over(self):
        names = {p.stem for p in FOLDER.glob("*.yaml")}
        for suffix in ("expected", "args", "env"):
            self.assertEqual({p.stem for p in FOLDER.glob(f"*.{suffix}")} - names, set(), suffix)


if __name__ == "__main__":
    unittest.main()
