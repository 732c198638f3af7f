"""A walk through sdk/GUIDE.md: exactly the commands that it prints, typed in an empty directory, on the installed packages.

guide_walk.py CPACK BUILD_DIR WEIR_SIM. The packages are made and unpacked below a temporary directory (the program and the
CMake package both find their own prefix), with PATH set to it. The servers of ~/weir.yaml are simulated. Exit code 77
(skipped): there is no dpkg-deb.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

cpack, build, sim = sys.argv[1:]
os.environ["WEIR_SIM"] = sim
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change  # noqa: E402
from weir_test import NetBox, Simulator, Workspace  # noqa: E402

if not shutil.which("dpkg-deb") or not shutil.which("dpkg-shlibdeps"):
    print("SKIPPED: Debian's packages cannot be made here (dpkg-deb, dpkg-shlibdeps)")
    sys.exit(77)

with tempfile.TemporaryDirectory(prefix="weir-walk-") as folder:
    root = pathlib.Path(folder)
    made, installed, empty = root / "packages", root / "installed", root / "empty"
    subprocess.run([cpack, "-G", "DEB", "--config", f"{build}/CPackConfig.cmake", "-B", str(made)], check=True, timeout=300,
                   stdout=subprocess.DEVNULL)
    packages = sorted(p for p in made.glob("*.deb"))
    assert sorted(p.name.split("_")[0] for p in packages) == ["weir", "weir-plugins", "weir-sdk"], packages
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", str(package), str(installed)], check=True, timeout=60)
    empty.mkdir()

    guide = (installed / "usr/share/doc/weir-sdk/GUIDE.md").read_text()
    blocks = re.findall(r"<!-- tests/abi/guide_walk\.py types this -->\n```sh\n(.*?)```", guide, re.S)
    assert len(blocks) == 2 and all("weir " in b for b in blocks), blocks

    home = Workspace()
    servers = []
    try:
        servers = [Simulator("netbox"), Simulator("proxmox", *change.arguments(nodes=2, guests=6, backups=6))]
        home.config(servers[0].url, change.NETBOX_TOKEN, {"pve-a": change.settings(servers[1])})
        environment = {"PATH": f"{installed}/usr/bin:/usr/bin:/bin", "HOME": str(home.path), "LANG": "C.UTF-8", "TMPDIR": str(root)}
        environment.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "TSAN_", "LSAN_"))})
        # One shell for all of it, as one would have it: what cd and export do, lasts.
        typed = subprocess.run(["sh", "-eux"], input="umask 022\n" + "".join(blocks), text=True, cwd=empty, env=environment,
                               timeout=500, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(typed.stdout)
        assert typed.returncode == 0, f"exit code {typed.returncode}"
        for said in ("rack-notes/ is laid out", "100% tests passed", "passed: ", "In Proxmox VE:", "in a process of its own"):
            assert said in typed.stdout, f"it did not say {said!r}"
        tags = {t["slug"] for t in NetBox(servers[0].url, change.NETBOX_TOKEN).all("extras/tags")}
        pools = {p["poolid"] for p in servers[1].model["pools"]}
        assert pools and tags == {f"pool-{p}" for p in pools}, (tags, pools)
        left = sorted(p.name for p in empty.iterdir())
        assert left == ["rack-notes"], left
    finally:
        for server in servers:
            server.stop()
        home.close()
print("ok")
