"""Nothing comes in unnoticed: each locked package has hashes and a licence that is known here."""

import re

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT, pages

TEXT = (ROOT / "requirements.txt").read_text().replace("\\\n", "")
LICENCES = (ROOT / "docs/licences.md").read_text()
# The machine of the table in docs/licences.md.
LINUX = {
    "python_version": "3.11", "python_full_version": "3.11.7", "sys_platform": "linux",
    "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix",
    "implementation_name": "cpython", "platform_python_implementation": "CPython",
}  # fmt: skip
# As packages write them: SPDX names, and the names of PyPI's classifiers.
KNOWN = {
    "MIT", "MIT License", "MIT-0", "MIT-CMU", "BSD", "BSD License", "BSD-2-Clause",
    "BSD-3-Clause", "0BSD", "ISC", "ISC License (ISCL)", "Zlib", "CC0-1.0", "PSF-2.0",
    "Python Software Foundation License", "Apache 2.0", "Apache-2.0", "Apache License 2.0",
    "Apache Software License", "The Unlicense (Unlicense)", "Unlicense", "Zope Public License",
    "HPND", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)",
}  # fmt: skip
# docs/licences.md says why these are compatible.
NAMED = {
    "pygit2": "GPLv2 with linking exception",
    "asyncssh": "EPL-2.0 OR GPL-2.0-or-later",
    "grandalf": "GNU General Public License v2 (GPLv2)",
    "cuda-toolkit": "UNKNOWN",
}
NVIDIA = {
    "LicenseRef-NVIDIA-Proprietary", "NVIDIA Proprietary Software", "Other/Proprietary License"
}  # fmt: skip


def wanted() -> list[Requirement]:
    """The lines of the lock, which hold for some machines or for all."""
    lines = [line.split(" --hash")[0] for line in TEXT.splitlines() if not line.startswith("#")]
    return [Requirement(line.strip()) for line in lines if line.strip()]


def locked() -> dict[str, str]:
    """Name and version of each package that the lock installs on the table's machine."""
    return {
        canonicalize_name(r.name): str(r.specifier).removeprefix("==")
        for r in wanted()
        if r.marker is None or r.marker.evaluate(LINUX)
    }


def test_what_other_systems_install_beside_it_is_named() -> None:
    """With its licence, in words: the table is of one machine."""
    others = {canonicalize_name(r.name) for r in wanted()} - locked().keys()
    (said,) = re.findall(r"other systems add (.+?) \((.+?)\)", LICENCES)
    assert set(re.findall(r"`(.+?)`", said[0])) == others
    licences = said[1].split(", ")
    assert len(licences) == len(others)
    assert all(map(acceptable, licences))


def rows() -> dict[str, tuple[str, str]]:
    """Version and licence by package, of the table that `make licences` writes."""
    lines = LICENCES.split("\n| Name ")[1].splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines]
    return {canonicalize_name(name): (version, licence) for name, version, licence in cells}


def acceptable(licence: str) -> bool:
    """Whether a licence asks for no more than those of KNOWN, alone, together or by choice."""
    if licence in KNOWN:
        return True
    # With parentheses every name must do: "GPL-3.0-only AND (MIT OR ISC)" is no choice of MIT.
    if "(" in licence:
        return all(name in KNOWN for name in re.split(r" AND | OR ", re.sub(r"[()]", "", licence)))
    choices = licence.split(" OR ")
    return any(
        all(part.strip() in KNOWN for part in re.split(r" AND |;", choice)) for choice in choices
    )


def test_each_package_is_locked_by_hash() -> None:
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 100
    for line in lines:
        assert re.match(r"[a-z0-9._-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line[:60]


def test_the_table_is_that_of_the_lock() -> None:
    assert {name: version for name, (version, _) in rows().items()} == locked(), (
        "run `make licences`"
    )


def test_each_licence_is_compatible() -> None:
    for name, (_, licence) in rows().items():
        if name.startswith("nvidia-"):
            assert licence in NVIDIA, f"{name}: {licence}"
        elif name in NAMED:
            assert licence == NAMED[name], f"{name}: {licence}"
            assert f"| {name} |" in LICENCES.split("\n| Name ")[0] or name == "cuda-toolkit"
        else:
            assert acceptable(licence), f"{name}: {licence}; see docs/licences.md"


@pytest.mark.parametrize(
    ("licence", "right"),
    [
        ("MIT AND (Apache-2.0 OR BSD-2-Clause)", True),
        ("Apache-2.0 OR GPL-2.0-or-later", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only AND (Apache-2.0 OR MIT)", False),
        ("GPL-3.0-only", False),
        ("GNU Affero General Public License v3", False),
        ("Apache Software License; BSD License", True),
        ("UNKNOWN", False),
        ("Other/Proprietary License", False),
    ],
)
def test_a_licence_that_asks_for_more_is_found(licence: str, right: bool) -> None:
    assert acceptable(licence) is right


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{cited["version"]}"\n' in project
    assert f'\nlicense = "{cited["license"]}"\n' in project
    assert cited["cff-version"] == "1.2.0"
    assert cited["authors"]


def test_the_example_workflow_pins_what_it_uses() -> None:
    """By commit: a tag can be moved. Its targets are the Makefile's; its pipes hide no failure."""
    workflow = yaml.safe_load((ROOT / "docs/examples/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
    for step in steps:
        if " | " in step.get("run", ""):
            assert step.get("shell") == "bash", step["name"]
    targets = re.findall(r"make ([a-z-]+)", "\n".join(step.get("run", "") for step in steps))
    assert targets
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}\b.*: \$\(READY\)$", makefile, re.MULTILINE), target


def test_the_site_has_every_page() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    shown = {page for entry in site["nav"] for page in leaves_of(entry)}
    named = {path.relative_to(ROOT).as_posix() for path in pages()}
    assert shown == named, "name it in the nav of mkdocs.yml"


def leaves_of(entry: str | list | dict) -> list[str]:
    """The paths below an entry of the site's navigation."""
    if isinstance(entry, str):
        return [entry]
    below = entry.values() if isinstance(entry, dict) else entry
    return [path for each in below for path in leaves_of(each)]
