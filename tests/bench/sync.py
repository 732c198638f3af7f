#!/usr/bin/env python3
"""Figures of syncs against the simulators: requests by method, wall time, peak memory, for each profile.

The simulated NetBox takes its time as a real one on two cores did (about 30 ms a request and 20 ms for each object it
writes); figures with a real one come from `make test-netbox`.
"""
import argparse
import os
import sys
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--weir", required=True)
arguments.add_argument("--sim", required=True)
arguments.add_argument("--guests", type=int, default=60)
arguments.add_argument("--backups", type=int, default=600)
arguments.add_argument("--profile", action="append", help="only this one; may be repeated")
given = arguments.parse_args()
os.environ["WEIR_BINARY"], os.environ["WEIR_SIM"] = str(Path(given.weir).resolve()), str(Path(given.sim).resolve())
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from weir_test import WEIR, Simulator, Workspace


def measure(profile):
    netbox = Simulator("netbox")
    proxmox = Simulator("proxmox", *change.arguments(guests=given.guests, backups=given.backups))
    workspace = Workspace()
    try:
        netbox.options(base_us=30000, write_object_us=20000, cpu_cores=2)
        config = workspace.config(netbox.url, change.NETBOX_TOKEN, {"pve-a": change.settings(proxmox)}, profile=profile)
        for name in ("first", "second"):
            netbox.reset_counters()
            outcome = workspace.weir("sync", "--config", config, "--output", "json", timeout=1800)
            if outcome.exit_code:
                sys.exit(str(outcome))
            counted = netbox.requests()
            methods = "  ".join(f"{m} {n}" for m, n in sorted(counted["by_method"].items()))
            print(f"{profile:20} {name:7} {outcome.seconds:7.2f} s {outcome.peak_kib / 1024:7.1f} MiB   "
                  f"in flight {counted['peak_in_flight']}   {methods}   = {counted['total']}", flush=True)
    finally:
        workspace.close()
        netbox.stop()
        proxmox.stop()


print(f"{given.guests} guests, {given.backups} backups; weir is {WEIR.stat().st_size / 1e6:.1f} MB")
for profile in given.profile or ("ultra-conservative", "conservative", "aggressive"):
    measure(profile)
