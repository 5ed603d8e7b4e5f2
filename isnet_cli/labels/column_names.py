"""Usual names of the columns of label files, and messages about columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from isnet_cli.errors import IsnetError
from isnet_cli.labels.csv_table import CsvTable

# Names are compared in lower case without anything but letters and digits.
ROLE_NAMES: dict[str, tuple[str, ...]] = {
    "patient": (
        *("patient", "patientid", "patientidentifier", "patientkey", "patientnumber"),
        *("subject", "subjectid", "pid", "mrn", "deidpatientid"),
    ),
    "source": (
        *("source", "hospital", "site", "dataset", "institution", "center", "centre"),
        *("origin", "collection", "cohort"),
    ),
    "view": (  # the first ones decide
        *("view", "viewposition", "projection", "viewpositions", "projections", "imageview"),
        *("frontallateral", "appa", "paap", "viewcodesequencecodemeaning"),
        *("palat", "palateral", "aplat", "aplateral", "paaplat", "frontlat", "imageprojection"),
    ),
    "modality": ("modality", "modalities", "imagingmodality", "imagemodality"),
    "body_part": ("bodypart", "bodypartexamined", "examinedbodypart", "bodyregion", "anatomy"),
    "mask": ("mask", "maskfile", "maskpath", "lungmask", "lungmaskfile", "lungmaskpath"),
    "set": ("set", "split", "subset", "partition"),
}
STATED = ("view", "modality", "body_part")  # several columns may state them
FACT_NAMES: dict[str, tuple[str, ...]] = {  # coarse facts; several columns may state them
    "sex": ("sex", "gender", "patientsex", "patientgender", "sexo", "geschlecht"),
    "age": ("age", "patientage", "ageyears", "ageatstudy", "edad", "alter"),
    "manufacturer": ("manufacturer", "devicemanufacturer", "scannermanufacturer", "vendor"),
    "model": ("manufacturermodelname", "manufacturersmodelname", "devicemodel", "scannermodel"),
}
PATH = "path:"  # before a pattern of the image's path, in place of a column's name
LEFT_MASKS = ("leftmask", "maskleft", "leftlungmask", "lungmaskleft")
RIGHT_MASKS = ("rightmask", "maskright", "rightlungmask", "lungmaskright")
FILE_NAMES = (
    *("file", "filename", "filepath", "path", "relativepath", "image", "images", "imagefile"),
    *("imagepath", "imagename", "imageindex", "imageid", "img", "imgpath", "imgname", "dicom"),
    *("dicompath", "dicomfile", "dicomid", "film", "xray", "key", "name", "stem", "id"),
    *("newfilename", "originalfilename", "imagefilename"),
    *("datei", "dateiname", "bild", "bilddatei", "archivo", "imagen", "fichier"),
)
FOLDER_NAMES = (  # of a column whose folders belong before the file names of another
    *("folder", "dir", "directory", "imagedir", "imagefolder", "imagedirectory", "subfolder"),
    *("subdir", "foldername", "dirname"),
)
UID_NAMES = ("sopinstanceuid", "sopuid", "instanceuid", "imageuid", "uid", "imageid", "dicomid")
ACCESSION_NAMES = (
    "accession",
    "accessionnumber",
    "accessionno",
    "accno",
    "studyid",
    "study",
    "examid",
    "exam",
    "studyinstanceuid",
)
NOT_LABELS = (  # numbers about the patient or the file, never a finding
    *("age", "patientage", "sex", "gender", "patientsex", "patientgender", "followup", "height"),
    *("width", "bits", "frame", "index", "row", "no", "nr", "number", "fold", "appa"),
    *("pediatric", "paediatric", "istrain", "istest", "isval"),
    *("smoker", "smoking", "pregnant", "portable", "inpatient", "vaccinated", "race", "ethnicity"),
    *("survival", "survived", "died", "deceased", "dead", "intubated", "extubated", "ventilated"),
    *("icu", "inicu", "wenticu", "neededsupplementalo2", "alter", "geschlecht", "edad", "sexo"),
)
_ADDED = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]\s*$")  # a unit or a remark: ``Diagnosis (ICD)``
_REPEATED = re.compile(r" \(\d+\)$")  # as `csv_table` tells equal headers apart
INDEX_NAMES = re.compile(r"column\d+|unnamed\d*|index|row|no|nr|number")


def plain(name: str) -> str:
    """A column name in lower case, letters and digits only.

    Empty for a fragment such as ``y]`` of ``Spacing[x,y]``, which a comma without quotes cut off:
    it says nothing about its column.
    """
    whole = _REPEATED.sub("", name)
    if any(whole.count(a) != whole.count(b) for a, b in ("[]", "()", "{}")):
        return ""
    return re.sub(r"[^a-z0-9]", "", whole.lower())


def is_named(name: str, names: Sequence[str]) -> bool:
    """Whether a column has one of the usual names, also with ``_DICOM`` or brackets behind it."""
    word = plain(name)
    if word in names or (word.endswith("dicom") and word.removesuffix("dicom") in names):
        return True
    return bool(word) and plain(_ADDED.sub("", name)) in names


def list_named(table: CsvTable, names: Sequence[str]) -> list[str]:
    """The columns with one of the usual names."""
    return [name for name in table.columns if is_named(name, names)]


def require_column(table: CsvTable, name: str, setting: str) -> str:
    """`name`, which must be a column of `table`; `setting` is what to type, with `{}` for a name.

    Raises:
        IsnetError: Kind "data", with the nearest names.
    """
    if name in table.columns:
        return name
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in table.columns], n=1)
    match = next((c for c in table.columns if near and c.lower() == near[0]), None)
    raise IsnetError(
        "data",
        f"{table.path}: no column '{name}', found {list_names(table.columns)}",
        fix=setting.format(match or "one of them"),
    )


def list_names(names: Sequence[str], limit: int = 12) -> str:
    """Names in quotes for a message, cut after `limit`."""
    text = ", ".join(f"'{name}'" for name in names[:limit])
    return f"{text} and {len(names) - limit} more" if len(names) > limit else text
