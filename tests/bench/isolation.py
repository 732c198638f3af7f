#!/usr/bin/env python3
"""What a stage's calls cost in process and isolated: objects emitted a second, and what that makes of a whole run of
10,000 objects, against a simulated NetBox that answers at once: without the profile's ceilings (the hardest case), under the
shipped profiles, and against one that takes 30 ms a request and 1 ms an object.

The two ways take turns, so that whatever else the machine does hits both; the medians are compared.
"""
import argparse
import os
import statistics
import sys
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--weir", required=True)
arguments.add_argument("--sim", required=True)
arguments.add_argument("--emitter", required=True, help="the stage plugin of tests/bench/emitter.cpp")
arguments.add_argument("--objects", type=int, default=10000)
arguments.add_argument("--rounds", type=int, default=5)
given = arguments.parse_args()
os.environ["WEIR_BINARY"], os.environ["WEIR_SIM"] = str(Path(given.weir).resolve()), str(Path(given.sim).resolve())
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from weir_test import Simulator, Workspace

WAYS = {"in process": "none", "isolated": "process"}


def run(command, way, proxmox, profile_text, options):
    """One run against a fresh NetBox: objects emitted a second, the run's seconds, peak memory."""
    netbox, workspace = Simulator("netbox"), Workspace()
    try:
        netbox.options(**options)
        config = workspace.config(netbox.url, change.NETBOX_TOKEN, {"pve-a": change.settings(proxmox)},
                                  profile=str(workspace.file("bench.yaml", profile_text)), plugin_path=[str(Path(given.emitter).resolve())],
                                  stages={"emitter": {"isolation": WAYS[way], "count": given.objects}})
        outcome = workspace.weir(command, "--config", config, "--output", "json", timeout=1800)
        if outcome.exit_code:
            sys.exit(str(outcome))
        seconds = outcome.result("emitter")["metrics"]["emit_seconds"]["value"]
        return given.objects / seconds, outcome.seconds, outcome.peak_kib / 1024
    finally:
        workspace.close()
        netbox.stop()


def compare(name, command, profile_text, options, rounds):
    measured = {way: [] for way in WAYS}
    proxmox = Simulator("proxmox", *change.arguments(guests=2, backups=0))
    try:
        for _ in range(rounds):
            for way in WAYS:
                measured[way].append(run(command, way, proxmox, profile_text, options))
    finally:
        proxmox.stop()
    medians = {way: [statistics.median(column) for column in zip(*rows)] for way, rows in measured.items()}
    for way, (rate, seconds, peak) in medians.items():
        print(f"{name:30} {way:10} {rate:10.0f} objects/s emitted   whole run {seconds:7.2f} s   {peak:6.1f} MiB")
    print(f"{name:30} isolation takes {medians['isolated'][1] / medians['in process'][1] - 1:+.1%} of the run's time", flush=True)


UNBOUND = "extends: aggressive\nbatch: {delay_ms: 0}\nrequests_per_second: 1000\n"
compare(f"plan of {given.objects}", "plan", UNBOUND, {}, given.rounds)
compare("sync, no ceilings to speak of", "sync", UNBOUND, {}, given.rounds)
compare("sync, aggressive", "sync", "extends: aggressive\n", {}, given.rounds)
compare("sync, conservative", "sync", "extends: conservative\n", {}, 2)
compare("sync, aggressive, 1 ms each", "sync", "extends: aggressive\n", {"base_us": 30000, "write_object_us": 1000, "cpu_cores": 2}, given.rounds)
