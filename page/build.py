"""Build page/plots.html, the page of `dvc plots show`: `make page`.

What is not here yet comes from its npm package (NPM_CONFIG_REGISTRY names a mirror), and is refused
unless its bytes have the sha256 below. The page holds the scripts unedited, because DVC writes it
into any folder and copies nothing but pictures there.
"""

import hashlib
import io
import os
import re
import sys
import tarfile
from pathlib import Path

import requests

FOLDER = Path(__file__).parent
PAGE = FOLDER / "plots.html"
REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org")
# DVC writes charts for Vega-Lite 5, which needs Vega 5.
SCRIPTS = {
    "vega.min.js": (
        "vega",
        "5.33.1",
        "463f3db6a40b20e9747b4ed38f37ed0add508838f9141b1cf8366784b07b30c8",
    ),
    "vega-lite.min.js": (
        "vega-lite",
        "5.23.0",
        "58c27358e26f2d319cf62f45bc17a4c8362f08645001df2ec8d341eee4097c7f",
    ),
    "vega-embed.min.js": (
        "vega-embed",
        "6.29.0",
        "12d02acfbe3ec59ef9a37dd4822a2e04e2961b5bbb671bbe661d2221715b99da",
    ),
}
# Vega 5.33.1 was published without the text of its licence, so it is taken from 5.33.0.
LICENCES = {
    "vega": ("5.33.0", "63727832aaf62004a2b249c933e327f3c90caf49e41a72f4bf436edf632cbda8"),
    "vega-lite": ("5.23.0", "f618900fd0d64046963b29f40590cdd1e341a2f41449f99110d82fd81fea808c"),
    "vega-embed": ("6.29.0", "32df67148f0fc3db0eb9e263a7b75d07f1eb14c61955005a4a39c6918d10d137"),
}


def fetch(package: str, version: str, member: str, digest: str) -> bytes:
    """A file of an npm package; ends the program where its sha256 is not `digest`."""
    url = f"{REGISTRY.rstrip('/')}/{package}/-/{package}-{version}.tgz"
    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        file = archive.extractfile(f"package/{member}")
        content = file.read() if file else b""
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        sys.exit(f"error: {url}: {member} has the sha256 {found}, not {digest}; nothing is written")
    return content


def assemble(scripts: dict[str, str]) -> str:
    """The page: its template with the named scripts and this folder's own in their places."""

    def content(mark: re.Match[str]) -> str:
        return scripts.get(mark[1]) or (FOLDER / mark[1]).read_text(encoding="utf8")

    return re.sub(r"\[\[([\w./-]+)\]\]", content, (FOLDER / "template.html").read_text("utf8"))


def held() -> dict[str, bytes]:
    """The scripts and licences that are here already, by their sha256."""
    page = PAGE.read_bytes() if PAGE.exists() else b""
    contents = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    contents += [path.read_bytes() for path in FOLDER.glob("licences/*.txt")]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def main() -> None:
    here = held()
    for package, (version, digest) in LICENCES.items():
        text = here.get(digest) or fetch(package, version, "LICENSE", digest)
        (FOLDER / f"licences/{package}.txt").write_bytes(text)
    scripts = {}
    for name, (package, version, digest) in SCRIPTS.items():
        content = here.get(digest) or fetch(package, version, f"build/{name}", digest)
        scripts[name] = content.decode()
    PAGE.write_text(assemble(scripts), encoding="utf8", newline="")
    print(f"{PAGE.relative_to(FOLDER.parent)}: {PAGE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
