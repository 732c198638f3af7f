#!/usr/bin/env python3
"""What a large plan costs: by default 10,000 guests and 100,000 backups, first into an empty simulated NetBox (everything
is to be created), then into one that has them all (nothing is to be done): time, requests, peak memory, and what of it
each object takes beyond a plan of next to nothing."""
import argparse
import os
import sys
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--weir", required=True)
arguments.add_argument("--sim", required=True)
arguments.add_argument("--guests", type=int, default=10000)
arguments.add_argument("--backups", type=int, default=100000)
arguments.add_argument("--nodes", type=int, default=16)
given = arguments.parse_args()
os.environ["WEIR_BINARY"], os.environ["WEIR_SIM"] = str(Path(given.weir).resolve()), str(Path(given.sim).resolve())
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from weir_test import Simulator, Workspace

QUICK = "extends: aggressive\nbatch: {size: 100, delay_ms: 0, objects_per_request: 100}\nmax_in_flight: 4\nrequests_per_second: 1000\n"
OBJECTS = given.guests + given.backups


def run(workspace, netbox, config, command, name, floor=0):
    netbox.reset_counters()
    outcome = workspace.weir(command, "--config", config, "--output", "json", timeout=3600)
    if outcome.exit_code:
        sys.exit(str(outcome))
    each = f"{(outcome.peak_kib - floor) * 1024 / OBJECTS:7.0f} bytes each" if floor else ""
    changes = sum(r[n] for r in outcome.json["results"] for n in ("created", "updated", "deleted"))
    print(f"{name:24} {outcome.seconds:7.1f} s {outcome.peak_kib / 1024:8.1f} MiB  {changes:7} changes  "
          f"{netbox.requests()['total']:6} requests  {each}", flush=True)
    return outcome


def with_guests(guests, backups, nodes):
    netbox = Simulator("netbox")
    proxmox = Simulator("proxmox", *change.arguments(nodes=nodes, guests=guests, backups=backups))
    workspace = Workspace()
    config = workspace.config(netbox.url, change.NETBOX_TOKEN, {"pve-a": change.settings(proxmox)},
                              profile=str(workspace.file("quick.yaml", QUICK)))
    return netbox, proxmox, workspace, config


def small():
    netbox, proxmox, workspace, config = with_guests(1, 0, 1)
    try:
        return run(workspace, netbox, config, "plan", "plan, one guest").peak_kib
    finally:
        workspace.close(), netbox.stop(), proxmox.stop()


floor = small()
netbox, proxmox, workspace, config = with_guests(given.guests, given.backups, given.nodes)
try:
    run(workspace, netbox, config, "plan", "plan, all is new", floor)
    run(workspace, netbox, config, "sync", "sync, all is new", floor)
    run(workspace, netbox, config, "plan", "plan, nothing to do", floor)
    run(workspace, netbox, config, "sync", "sync, nothing to do", floor)
finally:
    workspace.close(), netbox.stop(), proxmox.stop()
