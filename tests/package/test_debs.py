"""What is in the packages, and what lintian says of them."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from installed import control, packages_made  # noqa: E402
from weir_test import TREE  # noqa: E402

# What lintian says and why it stays.
KNOWN_TAGS = {
    "bogus-mail-host", "bogus-mail-host-in-debian-changelog",  # there is no address to name
    "package-contains-vcs-control-file", # the template of a stage of one's own comes with its .gitignore
}


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.packages = packages_made()
        folder = tempfile.TemporaryDirectory(prefix="weir-debs-")
        cls.addClassCleanup(folder.cleanup)
        cls.unpacked = {}
        for name, package in cls.packages.items():
            cls.unpacked[name] = Path(folder.name) / name
            subprocess.run(["dpkg-deb", "-x", str(package), str(cls.unpacked[name])], check=True)

    def files(self, package):
        return {str(p.relative_to(self.unpacked[package])) for p in self.unpacked[package].rglob("*") if not p.is_dir()}

    def test_there_are_three(self):
        self.assertEqual(set(self.packages), {"weir", "weir-plugins", "weir-sdk"})

    def test_everything_is_in_its_package(self):
        weir = self.files("weir")
        for file in ("usr/bin/weir", "usr/lib/systemd/system/weir.service", "usr/lib/systemd/system/weir.timer",
                     "usr/lib/systemd/system/weir-serve.service", "usr/share/bash-completion/completions/weir",
                     "usr/share/zsh/vendor-completions/_weir", "usr/share/fish/vendor_completions.d/weir.fish", "usr/share/man/man1/weir.1.gz",
                     "usr/share/man/man5/weir.yaml.5.gz",
                     "usr/share/doc/weir/README.md", "usr/share/doc/weir/install.md", "usr/share/doc/weir/copyright",
                     "usr/share/doc/weir/changelog.gz", "usr/share/doc/weir/examples/config.yaml", "usr/share/doc/weir/examples/weir.yaml",
                     "usr/share/weir/profiles/conservative.yaml", "usr/share/weir/scenarios/quiet.yaml"):
            self.assertIn(file, weir)
        for tree, below in (("configs/profiles", "usr/share/weir/profiles"), ("configs/scenarios", "usr/share/weir/scenarios"),
                            ("docs", "usr/share/doc/weir")):
            for file in filter(Path.is_file, (TREE / tree).rglob("*")):
                self.assertIn(f"{below}/{file.relative_to(TREE / tree)}", weir)
        for there, where in (("configs/REFERENCE.md", "usr/share/doc/weir/REFERENCE.md"), ("configs/weir.schema.json", "usr/share/weir/weir.schema.json")):
            self.assertEqual((TREE / there).exists(), where in weir, there)
        stages = {f for f in self.files("weir-plugins") if f.endswith(".so")}
        self.assertEqual({Path(f).name for f in stages}, {"nodes.so", "virtual-machines.so", "backups.so"})
        self.assertTrue(all("/weir/stages/" in f for f in stages), stages)
        self.assertFalse([f for f in weir if f.endswith(".so")])
        self.assertIn("usr/include/weir/abi.h", self.files("weir-sdk"))

    def test_no_file_is_in_two(self):
        seen = {}
        for name in self.packages:
            for file in self.files(name):
                self.assertNotIn(file, seen)
                seen[file] = name

    def test_nobody_else_may_write(self):
        for name, root in self.unpacked.items():
            listed = subprocess.run(["dpkg-deb", "-c", str(self.packages[name])], check=True, capture_output=True, text=True).stdout
            for line in listed.splitlines():
                mode, owner = line.split()[:2]
                self.assertEqual(owner, "root/root", line)
                self.assertTrue(mode[0] == "l" or (mode[5], mode[8]) == ("-", "-"), line)
                self.assertNotIn("s", mode, line)
            for path in root.rglob("*"):
                if path.is_file() and path.suffix in (".md", ".yaml", ".service", ".timer", ".so", ".gz"):
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o644, path)

    def test_depends_on_what_it_links(self):
        fields = {name: dict(re.findall(r"^([A-Za-z-]+): (.*)$", control(p), re.M)) for name, p in self.packages.items()}
        for library in ("libc6", "libcurl4", "libssl3", "libseccomp2", "libyaml-cpp0.7", "libsqlite3-0"):
            self.assertRegex(fields["weir"]["Depends"], rf"\b{re.escape(library)}\b")
        version = fields["weir"]["Version"]
        self.assertIn(f"weir (= {version})", fields["weir-plugins"]["Depends"])
        self.assertIn(f"weir-plugins (= {version})", fields["weir"]["Recommends"])
        self.assertEqual(fields["weir-sdk"]["Architecture"], "all")

    def test_the_build_has_left_no_trace(self):
        """No path of the build, in no file."""
        for name, root in self.unpacked.items():
            for path in root.rglob("*"):
                if path.is_file():
                    self.assertNotIn(os.environ["WEIR_BUILD"].encode(), path.read_bytes(), path)

    def test_scripts_are_sound(self):
        for name in ("postinst", "prerm", "postrm"):
            subprocess.run(["sh", "-n", str(TREE / "cmake/debian" / name)], check=True)
        for name, package in self.packages.items():
            listed = set(subprocess.run(["dpkg-deb", "--ctrl-tarfile", str(package)], check=True, capture_output=True).stdout and
                         subprocess.run(f"dpkg-deb --ctrl-tarfile '{package}' | tar -t", shell=True, check=True, capture_output=True,
                                        text=True).stdout.replace("./", "").split())
            scripts = listed & {"preinst", "postinst", "prerm", "postrm"}
            self.assertEqual(scripts, {"postinst", "prerm", "postrm"} if name == "weir" else set(), name)

    def test_lintian(self):
        if not shutil.which("lintian"):
            self.skipTest("lintian is not installed (packages/test.txt)")
        done = subprocess.run(["lintian", "--allow-root", "--tag-display-limit", "0", *map(str, self.packages.values())], capture_output=True,
                              text=True, timeout=300)
        print(done.stdout)
        errors = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:")) and line.split()[2] not in KNOWN_TAGS]
        self.assertEqual(errors, [], done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
