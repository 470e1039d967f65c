"""Names of organs: one for each, however a sheet writes it."""

import unicodedata

_SYNONYMS = {
    "colon": "colorectal",
    "rectum": "colorectal",
    "colorectum": "colorectal",
    "oesophagus": "esophagus",
    "urinary bladder": "bladder",
}


def organ_name(name: str) -> str:
    """The name under which an organ stands in the published table; others in lower case."""
    # Letters with marks and spaces have several spellings that look the same.
    name = " ".join(unicodedata.normalize("NFC", name).casefold().split())
    return _SYNONYMS.get(name, name)
