"""What is in a package beside our own code, as a CycloneDX 1.5 document.

Taken from what is there: the shared libraries that the dynamic linker finds for the programs, the
Debian packages that own them, with the versions and licences that dpkg has, and the lock file of the
dashboard's page.
"""

import json
import pathlib
import re
import subprocess
import uuid

# Nothing is linked with these, their code is in the headers.
HEADER_ONLY = ("libcli11-dev", "nlohmann-json3-dev")
NVIDIA = "NVIDIA CUDA Toolkit EULA"


def shared_libraries(program):
    """Paths of what PROGRAM loads, directly or not."""
    said = subprocess.run(["ldd", program], text=True, capture_output=True, check=True).stdout
    missing = re.findall(r"(\S+) => not found", said)
    if missing:
        raise SystemExit(f"{program} does not find {', '.join(missing)}")
    return sorted(set(re.findall(r" => (/\S+) ", said)))


def owners(paths):
    """Package of each path; a path without one is not in the answer."""
    names = {}
    for path in paths:
        real = str(pathlib.Path(path).resolve())
        # dpkg knows some files by their names from before /lib became /usr/lib.
        names[real] = names[real.removeprefix("/usr")] = path
    said = subprocess.run(["dpkg-query", "-S", *names], text=True, capture_output=True, check=False)
    return {names[path]: owner.split(":")[0].split(",")[0]
            for owner, path in re.findall(r"^(.*): (/.*)$", said.stdout, re.MULTILINE)}


def licence(package):
    """As the package's copyright file has it for most files; None when it is not in that format."""
    text = pathlib.Path(f"/usr/share/doc/{package}/copyright").read_text(encoding="utf-8",
                                                                       errors="replace")
    found = re.search(r"^Files: *\*.*?^License: *(\S.*?)$", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else None


def of_packages(packages, distribution):
    said = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Version}\n", *packages], text=True,
                          capture_output=True, check=True).stdout
    for package, version in (line.split() for line in said.splitlines()):
        yield _component("library", package, version, licence(package),
                         f"pkg:deb/{distribution}/{package}@{version.replace('+', '%2B')}")


def of_page(source_dir):
    lock = json.loads((source_dir / "client/dashboard/package-lock.json").read_text(encoding="utf-8"))
    for path, entry in sorted(lock["packages"].items()):
        if path and not entry.get("dev"):
            name = path.rpartition("node_modules/")[2]
            yield _component("library", name, entry["version"], entry.get("license"),
                             f"pkg:npm/{name}@{entry['version']}")


def of_cuda(version):
    for name in ("cuda-runtime (static)", "cufft"):
        yield _component("library", name, version, NVIDIA, None)


def _component(kind, name, version, licence_name, purl):
    component = {"type": kind, "name": name, "version": version}
    if licence_name:
        component["licenses"] = [{"license": {"name": licence_name}}]
    if purl:
        component["purl"] = purl
    component["bom-ref"] = purl or f"{name}@{version}"
    return component


def document(name, version, licence_name, timestamp, components):
    root = _component("application", name, version, licence_name, None)
    components = sorted(components, key=lambda c: c["bom-ref"])
    content = json.dumps([root, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "metadata": {"timestamp": timestamp, "component": root},
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}],
    }
