"""What the checks of the Kubernetes manifests find: in every overlay and job nothing, in broken copies everything.

Needs kubectl on PATH, and KubeRay's CRDs in the folder that UNBRAID_KUBERAY_CRDS names.
"""

import copy
import sys
import time

from benchmarks.figures import Figures
from tests.k8s.checks import CHECKS, Objects, findings
from tests.k8s.rendering import CRDS, FOLDERS, K8S, documents, existing
from tests.k8s.security_mutations import MUTATIONS
from unbraid.cluster.jobs.rayjob import render


def main() -> None:
    """Print all figures."""
    figures = Figures("kube", "none")
    if not CRDS.is_dir():
        sys.exit(
            f"{CRDS} has no CRDs: UNBRAID_KUBERAY_CRDS names the folder of KubeRay's; without them 0 findings would say little"
        )
    started = time.perf_counter()
    made = {folder: documents(folder) for folder in FOLDERS}
    figures.figure("render_seconds", (time.perf_counter() - started) / len(FOLDERS), "s a folder")
    figures.figure("folders", len(FOLDERS), "overlays and jobs", digits=0)
    figures.figure("objects", sum(map(len, made.values())), "objects", digits=0)
    figures.figure("rules", len(CHECKS), "checks, of which two are all schemas", digits=0)
    found = [text for folder, objects in made.items() for text in findings(Objects(objects, existing(folder)))]
    figures.figure("findings", len(found), "findings", "0", digits=0)
    caught = 0
    for mutation in MUTATIONS:
        broken = copy.deepcopy(made[mutation.folder])
        mutation.apply(broken)
        caught += bool(findings(Objects(broken, existing(mutation.folder)), only=mutation.check))
    figures.figure("mutations", len(MUTATIONS), "mutations", ">= 30", digits=0)
    figures.figure("mutations_caught", caught, f"of {len(MUTATIONS)}", "all", digits=0)
    differ = sum(render(K8S / folder) != objects for folder, objects in made.items())
    figures.figure("renders_that_differ", differ, "folders whose second render is another", "0", digits=0)


if __name__ == "__main__":
    main()
