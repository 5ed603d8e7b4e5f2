"""Public collections in miniature: their own folders, file names and columns, invented films."""

# ruff: noqa: E501 - rows as the files of the collections have them

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

from tests.images.dicom.factory import dicom_bytes, image_values
from tests.images.factory import png_bytes

PATIENTS = range(1, 9)
STANFORD = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)


def film(path: Path, seed: int, *, dicom: bool = False) -> None:
    """An image; seeds differ, so bytes differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = image_values(12 if dicom else 8, seed=seed)
    path.write_bytes(dicom_bytes(values, PatientID="") if dicom else png_bytes(values, 8))


def table(path: Path, *lines: str, packed: bool = False) -> None:
    """A CSV, or its ``.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "\n".join([*lines, ""]).encode()
    path.write_bytes(gzip.compress(content) if packed else content)


def findings(n: int) -> str:
    """CheXpert's 14 cells: certain, uncertain, not mentioned."""
    cells = ["" for _ in range(14)]
    cells[0], cells[2], cells[5] = f"{n % 2}.0", f"{1 - n % 2}.0", "-1.0" if n > 2 else ""
    return ",".join(cells)


def chestxray14(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        for image in (0, 1):
            name = f"{n:08}_{image:03}.png"
            film(top / f"images_{n:03}/images/{name}", 10 * n + image)
            said = ("No Finding", "Cardiomegaly|Effusion")[n % 2]
            rows.append(
                f"{name},{said},{image},{n},0{50 + n}Y,{'MF'[n % 2]},{['PA', 'AP'][image]},2682,2749,0.143,0.143,"
            )
    head = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    table(top / "Data_Entry_2017.csv", head, *rows)
    held = [f"{n:08}_{i:03}.png" for n in (7, 8) for i in (0, 1)]
    table(top / "test_list.txt", *held)
    table(top / "train_val_list.txt", *(f"{n:08}_{i:03}.png" for n in range(1, 7) for i in (0, 1)))


def chexpert(top: Path) -> None:
    for part, numbers in (("train", PATIENTS), ("valid", range(64541, 64544))):
        rows = []
        for n in numbers:
            path = f"{part}/patient{n:05}/study1/view1_frontal.jpg"
            film(top / path, n)
            rows.append(
                f"CheXpert-v1.0-small/{path},{['Male', 'Female'][n % 2]},60,Frontal,AP,{findings(n % 9)}"
            )
        table(top / f"{part}.csv", f"Path,Sex,Age,Frontal/Lateral,AP/PA,{STANFORD}", *rows)


def chexpert_plus(top: Path) -> None:
    rows, labels = [], []
    for n in PATIENTS:
        path = f"train/patient{n:05}/study1/view1_frontal.jpg"
        film(top / f"PNG/{path}".replace(".jpg", ".png"), n)
        rows.append(f"{path},Frontal,PA,{n},{55 + n},Female,{'valid' if n > 6 else 'train'}")
        labels.append(f"{path},{findings(n)}")
    table(
        top / "df_chexpert_plus_240401.csv",
        "path_to_image,frontal_lateral,ap_pa,deid_patient_id,age,sex,split",
        *rows,
    )
    table(top / "chexpert_plus_labels.csv", f"path_to_image,{STANFORD}", *labels)


def mimic(top: Path) -> None:
    meta, split, labels = [], [], []
    for n in PATIENTS:
        subject, study = 10000000 + n * 555555, 50000000 + n * 13
        labels.append(f"{subject},{study},{findings(n)}")
        for view in ("PA", "LATERAL"):
            name = f"{n:08x}-{view.lower():0<8}"
            film(
                top / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{name}.jpg",
                10 * n + len(view),
            )
            meta.append(f"{name},{subject},{study},CHEST (PA AND LAT),{view},3056,2544")
            split.append(
                f"{name},{study},{subject},{['train', 'validate', 'test'][(n > 5) + (n > 6)]}"
            )
    table(
        top / "mimic-cxr-2.0.0-metadata.csv.gz",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns",
        *meta,
        packed=True,
    )
    table(
        top / "mimic-cxr-2.0.0-split.csv.gz",
        "dicom_id,study_id,subject_id,split",
        *split,
        packed=True,
    )
    table(
        top / "mimic-cxr-2.0.0-chexpert.csv.gz",
        f"subject_id,study_id,{STANFORD}",
        *labels,
        packed=True,
    )


def padchest(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        name = f"2168401113669640128{n:02}_00-163-058.png"
        film(top / f"{n % 3}/{name}", n)
        said = (
            "\"['normal']\"",
            "\"['COPD signs', ' pleural effusion ']\"",
            "\"['pleural effusion']\"",
            "",
        )[n % 4]
        rows.append(
            f"{n},{name},{n % 3},20140915,S{n},P{n},19{30 + n}.0,{'FM'[n % 2]},PA,PA,Manual review of DICOM fields,No,CR,ImagingDynamics,{said}"
        )
    table(
        top / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,Labels",
        *rows,
    )


def brax(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        path = f"images/id_{n:04}/Study_{n}/Series_1/image-{n}.png"
        film(top / path, n)
        rows.append(
            f"physionet.org/brax/{path},{n},{'FM'[n % 2]},{40 + n},{findings(n)},PA,Philips"
        )
    table(
        top / "master_spreadsheet_update.csv",
        f"PngPath,PatientID,PatientSex,PatientAge,{STANFORD},ViewPosition,Manufacturer",
        *rows,
    )


def indiana(top: Path) -> None:
    shown, said = [], []
    for n in PATIENTS:
        for view in ("Frontal", "Lateral"):
            name = f"{n}_IM-{n:04}-{4 + (view == 'Lateral')}001.dcm.png"
            film(top / f"images/images_normalized/{name}", 10 * n + (view == "Lateral"))
            shown.append(f"{n},{name},{view}")
        said.append(
            f'{n},normal,{("normal", "Cardiomegaly;Pulmonary Atelectasis")[n % 2]},none,"Clear, no change."'
        )
    table(top / "indiana_projections.csv", "uid,filename,projection", *shown)
    table(top / "indiana_reports.csv", "uid,MeSH,Problems,indication,findings", *said)


def vindr(top: Path) -> None:
    for part, numbers in (("train", PATIENTS), ("test", range(11, 14))):
        rows = []
        for n in numbers:
            image = f"{n:032x}"
            film(top / f"{part}/{image}.dicom", n, dicom=True)
            for reader in ("R8", "R9", "R10"):
                sick = n % 2 == 0 and (reader != "R10" or n % 4 == 0)
                cell = "Cardiomegaly" if sick else "No finding"
                box = "69.5,18.2,121.0,93.7" if sick else ",,,"
                rows.append(f"{image},{reader},{cell},{box}")
        table(
            top / f"annotations/annotations_{part}.csv",
            "image_id,rad_id,class_name,x_min,y_min,x_max,y_max",
            *rows,
        )


def rsna(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        name = f"0004cfab-14fd-4e49-80ba-63a80b6bd{n:03}"
        film(top / f"stage_2_train_images/{name}.dcm", n, dicom=True)
        rows += [f"{name},26{i}.0,152.0,213.0,379.0,1" for i in range(n % 3)] or [f"{name},,,,,0"]
    table(top / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", *rows)


def siim(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        name = f"1.2.276.0.7230010.3.1.4.8323329.{n}.1517875162.13{n}"
        film(top / f"dicom-images-train/1.2.{n}/1.3.{n}/{name}.dcm", n, dicom=True)
        rows += [f"{name}, 387620 23 996 33", f"{name}, 12 4"] if n % 2 else [f"{name}, -1"]
    table(top / "train-rle.csv", "ImageId, EncodedPixels", *rows)


def tbx11k(top: Path) -> None:
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for n in range(1, 13):
        path = f"{['health', 'sick', 'tb'][n % 3]}/{'hst'[n % 3]}{n:04}.png"
        film(top / f"imgs/{path}", n)
        parts["val" if n > 9 else "train"].append(path)
    film(top / "imgs/test/test_0001.png", 99)
    for part, lines in parts.items():
        table(top / f"lists/TBX11K_{part}.txt", *lines)
    (top / "annotations/json").mkdir(parents=True)
    (top / "annotations/json/TBX11K_train.json").write_text(json.dumps({"images": []}))


def covidx(top: Path) -> None:
    for part, numbers in (("train", range(1, 9)), ("test", range(11, 15))):
        lines = []
        for n in numbers:
            name = f"img-{n}.png"
            film(top / part / name, n)
            lines.append(f"{n} {name} {['negative', 'positive'][n % 2]} {['rsna', 'cohen'][n % 2]}")
        table(top / f"{part}.txt", *lines)


def radiography(top: Path) -> None:
    import openpyxl

    for k, name in enumerate(("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")):
        book = openpyxl.Workbook()
        book.active.append(["FILE NAME", "FORMAT", "SIZE", "URL"])
        for n in range(1, 5):
            film(top / f"{name}/images/{name}-{n}.png", 10 * k + n)
            film(top / f"{name}/masks/{name}-{n}.png", 100 + 10 * k + n)
            place = ["https://sirm.org/category/covid-19/", "https://github.com/armiro/COVID-CXNet"]
            book.active.append([f"{name}-{n}".upper(), "PNG", "256*256", place[n % 2]])
        book.save(top / f"{name}.metadata.xlsx")


def cohen(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        film(top / f"images/case-{n}.jpeg", n)
        said = ("Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial", "No Finding")[n % 3]
        rows.append(
            f'{n},0,{"FM"[n % 2]},{60 + n},{said},PA,X-ray,"Hannover, Germany",images,case-{n}.jpeg,CC BY-NC-SA'
        )
    rows.append("99,0,F,60,Pneumonia/Viral/COVID-19,Axial,CT,Italy,volumes,scan.nii.gz,CC0")
    film(top / "images/unsure.jpeg", 77)
    rows.append("98,0,F,60,todo,PA,X-ray,Italy,images,unsure.jpeg,CC0")
    table(
        top / "metadata.csv",
        "patientid,offset,sex,age,finding,view,modality,location,folder,filename,license",
        *rows,
    )


def kermany(top: Path) -> None:
    for part, numbers in (("train", range(1, 9)), ("test", range(21, 25)), ("val", range(31, 33))):
        for n in numbers:
            film(top / f"{part}/PNEUMONIA/person{n}_bacteria_{n}.jpeg", n)
            film(top / f"{part}/NORMAL/IM-{n:04}-0001.jpeg", 100 + n)


MINIATURES: dict[str, Callable[[Path], None]] = {
    "chestxray14": chestxray14, "chexpert": chexpert, "chexpert-plus": chexpert_plus,
    "mimic-cxr-jpg": mimic, "padchest": padchest, "brax": brax, "indiana": indiana,
    "vindr-cxr": vindr, "rsna-pneumonia": rsna, "siim-pneumothorax": siim, "tbx11k": tbx11k,
    "covidx": covidx, "covid-radiography": radiography, "cohen": cohen, "kermany": kermany,
}  # fmt: skip
