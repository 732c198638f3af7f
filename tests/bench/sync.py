#!/usr/bin/env python3
"""Figures of syncs against the simulators: requests by method, wall time, peak memory, for each profile; then what weir itself
costs for 1,000 requests, and what its journal costs for a batch.

The simulated NetBox takes its time as a real one on two cores did (about 30 ms a request and 20 ms for each object it
writes); figures with a real one come from `make test-netbox`.
"""
import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--weir", required=True)
arguments.add_argument("--sim", required=True)
arguments.add_argument("--journal-bench", help="the program that measures the journal alone")
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


def cost_of_requests(objects=2000):
    """Processor time and memory for single writes to a NetBox that answers at once: little else than weir's own work."""
    netbox = Simulator("netbox")
    proxmox = Simulator("proxmox", *change.arguments(guests=50, backups=objects))
    workspace = Workspace()
    try:
        profile = str(workspace.file("single.yaml", "extends: aggressive\nbatch: {size: 100, delay_ms: 0, objects_per_request: 1}\n"
                                                "max_in_flight: 4\nrequests_per_second: 1000\n"))
        config = workspace.config(netbox.url, change.NETBOX_TOKEN, {"pve-a": change.settings(proxmox)}, profile=profile)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        outcome = workspace.weir("sync", "--config", config, "--output", "json", timeout=1800)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if outcome.exit_code:
            sys.exit(str(outcome))
        requests = outcome.json["requests"]["total"]
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{requests} requests of one object each: {1000 * cpu / requests:.2f} s of processor time for 1,000 requests "
              f"(journal, compare and plan included), peak {outcome.peak_kib / 1024:.1f} MiB, {outcome.seconds:.1f} s")
    finally:
        workspace.close()
        netbox.stop()
        proxmox.stop()


print(f"{given.guests} guests, {given.backups} backups; weir is {WEIR.stat().st_size / 1e6:.1f} MB")
for profile in given.profile or ("ultra-conservative", "conservative", "aggressive"):
    measure(profile)
cost_of_requests()
if given.journal_bench:
    subprocess.run([given.journal_bench], check=True)
