"""configs/Containerfile, as far as it can be looked at without an engine: nothing is built here."""
import json
import re
import shlex
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from weir_test import TREE, WEIR, ScriptedServer, WeirCase  # noqa: E402


def instructions():
    """[(stage, instruction, text)]"""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", (TREE / "configs/Containerfile").read_text()))
    found, stage = [], -1
    for line in filter(str.strip, text.splitlines()):
        name, rest = line.split(None, 1)
        stage += name == "FROM"
        found.append((stage, name, rest.strip()))
    return found


class Container(WeirCase):
    def test_it_is_made_of_debian(self):
        bases = [rest.split()[0] for _, name, rest in instructions() if name == "FROM"]
        self.assertEqual(bases, ["docker.io/library/debian:bookworm-slim"] * 2)
        text = (TREE / "configs/Containerfile").read_text()
        self.assertNotRegex(text, r"\b(curl|wget|pip|git clone|ADD)\b")

    def test_what_it_copies_is_there_and_is_all_that_the_build_reads(self):
        copied = set()
        for _, name, rest in instructions():
            if name == "COPY" and not rest.startswith("--from"):
                *sources, to = rest.split()
                for source in sources:
                    self.assertTrue((TREE / source).exists(), source)
                    self.assertIn(to, (source, "./"))
                    copied.add(source)
        used = set(re.findall(r"add_subdirectory\((\w+)\)|include\((cmake)/", (TREE / "CMakeLists.txt").read_text()))
        used = {a or b for a, b in used} - {"tests"}  # not built there
        used |= {m.split("/")[0] for m in re.findall(r"\b(?:FILES|DIRECTORY|GLOB \w+ CONFIGURE_DEPENDS|CMAKE_SOURCE_DIR}/)\s*([\w./-]+)",
                                                     (TREE / "cmake/package.cmake").read_text())}
        self.assertLessEqual({u for u in used if (TREE / u).exists()}, copied)
        self.assertGreater(len(copied), 8)

    def test_its_packages_exist(self):
        if not shutil.which("apt-cache"):
            self.skipTest("no apt-cache here")
        names = {line.strip() for line in (TREE / "packages/build.txt").read_text().splitlines() if line.strip() and not line.startswith("#")}
        for _, name, rest in instructions():
            if name == "RUN" and "apt-get install" in rest:
                names |= {w for w in shlex.split(rest.split("apt-get install")[1].split("&&")[0]) if re.fullmatch(r"[a-z][a-z0-9.+-]+", w)}
        self.assertIn("ca-certificates", names)
        said = subprocess.run(["apt-cache", "policy", *sorted(names)], capture_output=True, text=True, timeout=60, env={"LC_ALL": "C"}).stdout
        there = {name for name, candidate in re.findall(r"(?m)^(\S+):\n  Installed: .*\n  Candidate: (.*)$", said) if candidate != "(none)"}
        if not there:
            self.skipTest("apt has no lists of packages here (apt-get update)")
        self.assertEqual(names - there, set())

    def test_it_ends_and_runs_as_it_should(self):
        last = {name: rest for stage, name, rest in instructions() if stage == 1}
        self.assertEqual(last["STOPSIGNAL"], "SIGTERM")
        self.assertRegex(last["USER"], r"^[1-9]\d+:[1-9]\d+$")
        self.assertEqual(json.loads(last["ENTRYPOINT"]), ["weir"])
        command = [str(WEIR), *json.loads(last["CMD"])]
        self.assertEqual(command[1:], ["serve", "--config", "/etc/weir/config.yaml"])
        self.assertIn("serve", self.weir("--help").stdout)
        self.assertIn(f"-o {last['USER'].split(':')[0]} ", " ".join(rest for _, name, rest in instructions() if name == "RUN"))

    def test_its_health_check(self):
        """The very command, with another port."""
        line = next(rest for _, name, rest in instructions() if name == "HEALTHCHECK")
        command = json.loads(line[line.index("CMD") + 3:])
        answers = []

        def answer(method, path):
            self.assertEqual((method, path), ("GET", "/livez"))
            return answers[-1], "application/json", "{}"

        server = ScriptedServer(answer)
        self.addCleanup(server.close)
        port = server.url.rsplit(":", 1)[1]
        self.assertIn("/127.0.0.1/9788", command[-1])
        command[-1] = command[-1].replace("9788", port)
        for status, healthy in ((200, True), (503, False)):
            answers.append(status)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode == 0, healthy, done)
        server.close()
        self.assertNotEqual(subprocess.run(command, capture_output=True, timeout=60).returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
