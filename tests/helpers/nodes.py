"""Several Ray nodes on this machine, for tests: prints where they are, and kills one when told to.

Run as a program of its own, because Ray reads its environment once per process.
"""

import json
import os
import signal
import sys
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """All processes below this one; a raylet's workers are among them."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                stat = (path / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            parents[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def main(nodes: int) -> None:
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1, wait=False) for _ in range(nodes)]
    cluster.wait_for_nodes()
    raylets = [node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid for node in workers]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    for line in sys.stdin:
        raylet = int(line)
        doomed = [raylet, *descendants(raylet)]
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        print(json.dumps(doomed), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
