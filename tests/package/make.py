"""Makes the packages once, for the tests that install them: make.py CPACK BUILD_DIR FOLDER. 77 (skipped): not on a Debian."""
import pathlib
import shutil
import subprocess
import sys

cpack, build, folder = sys.argv[1:]
if not shutil.which("dpkg-deb") or not shutil.which("dpkg-shlibdeps"):
    print("SKIPPED: Debian's packages cannot be made here (dpkg-deb, dpkg-shlibdeps)")
    sys.exit(77)
folder = pathlib.Path(folder)
shutil.rmtree(folder, ignore_errors=True)
done = subprocess.run([cpack, "-G", "DEB", "--config", f"{build}/CPackConfig.cmake", "-B", str(folder)], timeout=300,
                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
if done.returncode:
    print(done.stdout)
    sys.exit(1)
for package in sorted(folder.glob("*.deb")):
    print(f"{package.name}: {package.stat().st_size / 1024:.0f} KiB")
