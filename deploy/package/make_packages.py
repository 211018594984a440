#!/usr/bin/env python3
"""Makes the packages of a build: two .deb files, one .tar.gz, a list of contents (SBOM) of each.

    make_packages.py BUILD_DIR OUT_DIR

The build has to have ptychoserved, ptychoctl, the Python package and the dashboard's page. What comes
out depends on the build alone: all times in the packages are SOURCE_DATE_EPOCH, which is the time of
the last commit unless it is set.
"""

import concurrent.futures
import datetime
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import sbom
from completion import bash_completion, walk
from help_text import read
from man_page import man_page

HERE = pathlib.Path(__file__).resolve().parent
SERVER, CLIENTS = "ptychoserved", "ptychoserve-clients"
PROGRAM = {SERVER: "ptychoserved", CLIENTS: "ptychoctl"}
# Of ptychoctl, which runs these programs.
COMMAND_OF_PROGRAM = {"ptychoserve-bridge": "bridge", "ptychoserve-replay": "replay",
                      "ptychoserve-watch": "watch-files", "ptychoserve-doctor": "doctor",
                      "ptychoserve-dashboard": "dashboard"}
DESCRIPTION = {
    SERVER: "reconstructs ptychography scans while they are measured\n"
            " Detector frames and positions stream in over gRPC, an engine iterates over\n"
            " what has arrived, snapshots of object and probe can be watched at any time.\n"
            " This is the server.",
    CLIENTS: "clients and dashboard of ptychoserved\n"
             " The program ptychoctl, the Python package ptychoserve, bridges from\n"
             " detectors, and the dashboard, which shows in a browser what the server does.",
}
DEPENDS = {
    SERVER: ["passwd"],
    CLIENTS: ["python3 (>= 3.9)", "python3-aiohttp", "python3-cbor2", "python3-grpcio (>= 1.51)",
              "python3-h5py", "python3-lz4", "python3-numpy", "python3-protobuf (>= 3.21)",
              "python3-yaml", "python3-zmq"],
}
# Of the server: what dpkg leaves alone when somebody has changed it.
CONFIGURATION = {"etc/ptychoserve/ptychoserved.yaml": "ptychoserved.yaml",
                 "etc/logrotate.d/ptychoserved": "ptychoserved.logrotate"}
RECOMMENDS = {SERVER: [], CLIENTS: ["python3-httpx", "python3-matplotlib", "python3-tifffile"]}


def run(*command, **keywords):
    done = subprocess.run(command, text=True, capture_output=True, check=False, **keywords)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def source_date_epoch(source_dir):
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    if not (source_dir / ".git").exists():
        sys.exit(f"{source_dir} is not a git checkout: set SOURCE_DATE_EPOCH, the time of the release "
                 "in seconds since 1970")
    return int(run("git", "-C", str(source_dir), "log", "-1", "--format=%ct"))


class Release:
    """One build, and what all of its packages have in common."""

    def __init__(self, build, out):
        self.build, self.out = build, out
        facts = json.loads((build / "deploy/package/build.json").read_text(encoding="utf-8"))
        self.source = pathlib.Path(facts["source_dir"])
        self.upstream_version = facts["version"]
        self.cuda = ".".join(facts["cuda_version"].split(".")[:2])
        self.epoch = source_date_epoch(self.source)
        self.architecture = run("dpkg", "--print-architecture").strip()
        system = dict(re.findall(r'^(\w+)="?(.*?)"?$',
                                 pathlib.Path("/etc/os-release").read_text(encoding="utf-8"),
                                 re.MULTILINE))
        self.distribution = system["ID"]
        # The libraries of one distribution are not those of another.
        self.platform = f"{system['ID']}{system['VERSION_ID']}"
        self.version = f"{self.upstream_version}+{self.platform}"
        if not (build / "dashboard/index.html").is_file():
            sys.exit(f"there is no page in {build / 'dashboard'}; `make dashboard` builds it")

    def package_name(self, component):
        return f"{component}-cuda" if component == SERVER and self.cuda else component

    def timestamp(self):
        return datetime.datetime.fromtimestamp(self.epoch, datetime.timezone.utc).isoformat()


def write(path, data, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)


def normalise(root):
    """Modes that do not depend on who packs."""
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def stage(release, component, root):
    """Everything of one component below ROOT/usr."""
    usr = root / "usr"
    run("cmake", "--install", str(release.build), "--strip", "--prefix", str(usr), "--component",
        "server" if component == SERVER else "clients")
    program = release.build / "bin" / PROGRAM[component]
    write_manual(release, component, read(str(program)), usr / "share")
    doc = usr / "share/doc" / release.package_name(component)
    if component == SERVER and release.cuda:
        (usr / "share/doc" / SERVER).rename(doc)
    write(doc / "copyright", copyright_text(release, component))
    write(doc / "CHANGELOG.md.gz", gzip.compress((release.source / "CHANGELOG.md").read_bytes(), mtime=0))
    content = contents(release, component, sbom.shared_libraries(str(program)))
    write(doc / "sbom.cdx.json", json.dumps(content, indent=1) + "\n")
    normalise(root)


def write_manual(release, component, command, share):
    section = 8 if component == SERVER else 1
    for one in walk(command):
        page = man_page(one, section, release.upstream_version, release.epoch)
        write(share / f"man/man{section}" / f"{'-'.join(one.words)}.{section}.gz",
              gzip.compress(page.encode(), mtime=0))
    if component == CLIENTS:
        for program, name in COMMAND_OF_PROGRAM.items():
            write(share / f"man/man1/{program}.1.gz",
                  gzip.compress(f".so man1/ptychoctl-{name}.1\n".encode(), mtime=0))
    write(share / "bash-completion/completions" / PROGRAM[component], bash_completion(command))


def is_cuda(library):
    return pathlib.Path(library).name.startswith(("libcufft", "libcudart"))


def contents(release, component, libraries):
    libraries = [library for library in libraries if not is_cuda(library)]
    owner = sbom.owners(libraries)
    unknown = sorted(set(libraries) - set(owner))
    if unknown:
        sys.exit(f"no package of the distribution has {', '.join(unknown)}")
    packages = {*owner.values(), *sbom.HEADER_ONLY}
    packages |= {d.split()[0] for d in DEPENDS[component] if d.startswith("python3-")}
    components = list(sbom.of_packages(packages, release.distribution))
    if component == CLIENTS:
        components += sbom.of_page(release.source)
    elif release.cuda:
        components += sbom.of_cuda(release.cuda)
    return sbom.document(release.package_name(component), release.upstream_version, "BSD-3-Clause",
                         release.timestamp(), components)


def copyright_text(release, component):
    licence = (release.source / "LICENSE").read_text(encoding="utf-8")
    holder = re.search(r"Copyright \(c\) (.*)", licence)[1]
    body = "\n".join(" " + (line or ".") for line in licence.strip().splitlines())
    comment = (" The program is linked with FFTW, which is under the GPL, version 2 or later, and with\n"
               " libraries under Apache-2.0: as a whole it is under version 3 of the GPL for whoever\n"
               " distributes it.\n")
    if component == SERVER and release.cuda:
        comment = (" The program is linked with FFTW, which is under the GPL, and with NVIDIA's cuFFT,\n"
                   " which is proprietary. Both licences cannot be satisfied at once: use this package,\n"
                   " and do not hand it on.\n")
    return ("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
            "Upstream-Name: ptychoserve\n"
            f"Comment:\n{comment}\n"
            f"Files: *\nCopyright: {holder}\nLicense: BSD-3-Clause\n{body}\n")


def shared_library_depends(release, component):
    """What dpkg finds that the program of the component depends on."""
    program = str(release.build / "bin" / PROGRAM[component])
    cuda = sorted({os.path.dirname(library) for library in sbom.shared_libraries(program)
                   if is_cuda(library)})
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder) / "debian/control",
              f"Source: ptychoserve\n\nPackage: {component}\nArchitecture: any\n")
        # NVIDIA's packages do not say what they are for dpkg; all others do, see contents().
        said = run("dpkg-shlibdeps", "-O", *(f"-l{place}" for place in cuda),
                   *(["--ignore-missing-info"] if cuda else []), program, cwd=folder)
    depends = said.strip().removeprefix("shlibs:Depends=").split(", ")
    return depends + [f"libcufft-{release.cuda.replace('.', '-')}"] * bool(cuda)


def make_deb(release, component, root, depends):
    """Of what is staged in ROOT, with the configuration and the scripts that dpkg runs."""
    name = release.package_name(component)
    if component == SERVER:
        for path, source in CONFIGURATION.items():
            write(root / path, (release.source / "deploy/systemd" / source).read_bytes())
        write(root / "DEBIAN/conffiles", "".join(f"/{path}\n" for path in CONFIGURATION))
    files = sorted(p for p in root.rglob("*") if p.is_file() and root / "DEBIAN" not in p.parents)
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files)
    fields = {"Package": name, "Version": release.version, "Architecture": release.architecture,
              "Maintainer": "the ptychoserve authors", "Section": "science", "Priority": "optional",
              "Installed-Size": str(size_kib),
              "Depends": ", ".join(sorted(depends + DEPENDS[component])),
              "Recommends": ", ".join(RECOMMENDS[component])}
    if name != component:
        fields |= {"Provides": f"{component} (= {release.version})", "Conflicts": component,
                   "Replaces": component}
    fields["Description"] = DESCRIPTION[component]
    write(root / "DEBIAN/control", "".join(f"{k}: {v}\n" for k, v in fields.items() if v))
    write(root / "DEBIAN/md5sums", "".join(
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files
        if root / "etc" not in path.parents))
    for script in ("postinst", "prerm", "postrm"):
        source = HERE / "debian" / f"{component}.{script}"
        if source.exists():
            write(root / "DEBIAN" / script, source.read_bytes(), 0o755)
    normalise(root)
    # gzip: what xz makes depends on how many cores there are.
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", str(root), str(release.out),
        env={**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch)})


def make_tarball(release, roots, depends):
    """bin, lib and share of all components, to be unpacked anywhere."""
    name = f"ptychoserve-{release.upstream_version}-{release.platform}-{release.architecture}"
    name += f"-cuda{release.cuda}" if release.cuda else ""
    needs = "".join(f"{package}\n" for package in sorted({d.split()[0] for d in depends}))
    with tempfile.TemporaryDirectory() as folder:
        top = pathlib.Path(folder) / name
        for root in roots:
            shutil.copytree(root / "usr", top, dirs_exist_ok=True)
        write(top / "NEEDS.txt", needs)

        def common(info):
            info.mtime, info.uid, info.gid = release.epoch, 0, 0
            info.uname = info.gname = "root"
            return info

        with gzip.GzipFile(release.out / f"{name}.tar.gz", "wb", 6, mtime=release.epoch) as packed, \
                tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in [top, *sorted(top.rglob("*"))]:
                archive.add(path, str(path.relative_to(folder)), recursive=False, filter=common)


def main(build, out):
    release = Release(pathlib.Path(build).resolve(), pathlib.Path(out).resolve())
    shutil.rmtree(release.out, ignore_errors=True)
    release.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        roots = {component: pathlib.Path(folder) / component for component in (SERVER, CLIENTS)}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            staged = [pool.submit(stage, release, *each) for each in roots.items()]
            found = pool.map(lambda component: shared_library_depends(release, component), roots)
            depends = dict(zip(roots, found))
            for each in staged:
                each.result()
        make_tarball(release, roots.values(), [d for part in (*depends.values(), *DEPENDS.values())
                                               for d in part])
        for component, root in roots.items():
            doc = root / "usr/share/doc" / release.package_name(component)
            shutil.copy(doc / "sbom.cdx.json",
                        release.out / f"{release.package_name(component)}-{release.version}.cdx.json")
            make_deb(release, component, root, depends[component])
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
                   for path in sorted(release.out.iterdir()))
    write(release.out / "SHA256SUMS", sums)
    print("".join(f"{path}\n" for path in sorted(release.out.iterdir())), end="")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
