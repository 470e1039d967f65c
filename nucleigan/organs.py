"""Names of organs: one for each, however a sheet writes it."""

_SYNONYMS = {
    "colon": "colorectal",
    "rectum": "colorectal",
    "colorectum": "colorectal",
    "oesophagus": "esophagus",
    "urinary bladder": "bladder",
}


def organ_name(name: str) -> str:
    """The name under which an organ stands in the published table; others in lower case."""
    name = name.strip().casefold()
    return _SYNONYMS.get(name, name)
