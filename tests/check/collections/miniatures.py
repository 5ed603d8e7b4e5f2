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


def film(path: Path, seed: int, *, dicom: bool = False, size: tuple[int, int] = (80, 96)) -> None:
    """An image; seeds differ, so bytes differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = image_values(12 if dicom else 8, size=size, seed=seed)
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
    table(
        top / "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        "00000007_000.png,Cardiomegaly,2.5,1.25,8.0,6.0,,,",
        "00000007_000.png,Infiltrate,1.0,1.0,3.0,3.0,,,",
        "00000099_000.png,Mass,1.0,1.0,3.0,3.0,,,",  # a film that is not there
    )
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


def chexpert_batches(top: Path) -> None:
    """CheXpert as the full download has it, with the test set that came later."""
    places = {
        "train": "CheXpert-v1.0 batch 2 (train 1)",
        "valid": "CheXpert-v1.0 batch 1 (validate & csv)/valid",
        "test": "test",
    }
    for part, numbers in (("train", PATIENTS), ("valid", (64541, 64542)), ("test", (64741, 64742))):
        rows = []
        for n in numbers:
            view = f"patient{n:05}/study1/view1_{'lateral' if n % 4 == 2 else 'frontal'}.jpg"
            film(top / places[part] / view, n)
            about = "" if part == "test" else ",Unknown,0,Frontal,AP"
            head = "" if part == "test" else "CheXpert-v1.0/"
            rows.append(f"{head}{part}/{view}{about},{findings(n % 9)}")
        name = (
            "test_labels.csv" if part == "test" else f"{places['valid'].split('/')[0]}/{part}.csv"
        )
        about = "" if part == "test" else ",Sex,Age,Frontal/Lateral,AP/PA"
        table(top / name, f"Path{about},{STANFORD}", *rows)


def chexpert_plus(top: Path) -> None:
    rows, labels = [], []
    for n in PATIENTS:
        part = "valid" if n > 6 else "train"
        path = f"{part}/patient{n:05}/study1/view1_frontal.jpg"
        film(top / f"PNG/{path}".replace(".jpg", ".png"), n)
        rows.append(f'{path},DICOM/{path},Frontal,PA,{n},"Report, of two\nlines",{55 + n},Female')
        cells = {
            name: cell or None
            for name, cell in zip(STANFORD.split(","), findings(n).split(","), strict=True)
        }
        numbers = {name: None if cell is None else float(cell) for name, cell in cells.items()}
        labels.append(json.dumps({"path_to_image": path, **numbers}))
    table(
        top / "df_chexpert_plus_240401.csv",
        "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,report,age,sex",
        *rows,
    )
    for section in ("impression", "findings"):  # those of findings are of little use
        lines = labels if section == "impression" else ['{"path_to_image": "x"}']
        table(top / f"chexbert_labels/{section}_fixed.json", *lines)


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
            "\"['pleural effusion', 'unchanged']\"",
            ("\"['exclude']\"", "")[n > 4],
        )[n % 4]
        name = name.replace("_00-163", "_00 - 163") if n == 2 else name  # a broken name
        rows.append(
            f"{n},{name},{n % 3},20140915,S{n},P{n},19{30 + n}.0,{'FM'[n % 2]},PA,{['PA', 'AP_horizontal', 'L'][n % 3]},Manual review of DICOM fields,No,CR,ImagingDynamics,{said}"
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
        film(top / f"Anonymized_DICOMs/{path[7:-4]}.dcm", n, dicom=True)
        dicom = f"Anonymized_DICOMs/{path[7:-4]}.dcm"
        rows.append(
            f"{dicom},{path},{n},{'FM'[n % 2]},{['85 or more', 40 + n][n > 1]},{findings(n)},PA,Philips"
        )
    table(
        top / "master_spreadsheet_update.csv",
        f"DicomPath,PngPath,PatientID,PatientSex,PatientAge,{STANFORD},ViewPosition,Manufacturer",
        *rows,
    )


def indiana(top: Path) -> None:
    shown, said = [], []
    for n in PATIENTS:
        for view in ("Frontal", "Lateral"):
            name = f"{n}_IM-{n:04}-{4 + (view == 'Lateral')}001.dcm.png"
            film(top / f"images/images_normalized/{name}", 10 * n + (view == "Lateral"))
            shown.append(f"{n},{name},{view}")
        problems = ("normal", "Cardiomegaly;Pulmonary Atelectasis", "", "No Indexing")[n % 4]
        mesh = "Cardiomegaly/borderline;Lung/hypoinflation" if n % 4 == 2 else ""
        said.append(f'{n},{mesh},{problems},Xray,pain,none,"Clear, no\nchange.",Normal')
    table(top / "indiana_projections.csv", "uid,filename,projection", *shown)
    table(
        top / "indiana_reports.csv",
        "uid,MeSH,Problems,image,indication,comparison,findings,impression",
        *said,
    )


def vindr(top: Path) -> None:
    """Three readers of a training film, one row of a test film; findings without a box, too."""
    for part, numbers in (("train", PATIENTS), ("test", range(11, 15))):
        rows, whole = [], []
        for n in numbers:
            image = f"{n:032x}"
            film(top / f"{part}/{image}.dicom", n, dicom=True)
            for reader in ("R8", "R9", "R10") if part == "train" else ("",):
                sick = n % 2 == 0 and (reader != "R10" or n % 4 == 0)
                cell = "Cardiomegaly" if sick else "No finding"
                box = "2.5,1.2,9.0,7.7" if sick else ",,,"
                head = f"{image},{reader}" if reader else image
                rows.append(f"{head},{cell},{box}")
                whole.append(f"{head},{int(sick)},{int(n % 3 == 0)},0,{int(not sick)}")
        head = "image_id,rad_id" if part == "train" else "image_id"
        table(
            top / f"annotations/annotations_{part}.csv",
            f"{head},class_name,x_min,y_min,x_max,y_max",
            *rows,
        )
        other = "Other diseases" if part == "train" else "Other disease"
        table(
            top / f"annotations/image_labels_{part}.csv",
            f"{head},Cardiomegaly,Tuberculosis,{other},No finding",
            *whole,
        )


def vinbigdata(top: Path) -> None:
    """VinDr-CXR as a competition had it: one table, test films without labels."""
    rows = []
    for n in PATIENTS:
        film(top / f"train/{n:032x}.dicom", n, dicom=True)
        film(top / f"test/{n + 50:032x}.dicom", n + 50, dicom=True)
        for reader in ("R8", "R9", "R10"):
            cells = "Cardiomegaly,3" if n % 2 else "No finding,14"
            rows.append(f"{n:032x},{cells},{reader},{'1,1,9,9' if n % 2 else ',,,'}")
    table(top / "train.csv", "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", *rows)


def rsna(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        name = f"0004cfab-14fd-4e49-80ba-63a80b6bd{n:03}"
        film(top / f"stage_2_train_images/{name}.dcm", n, dicom=True)
        rows += [f"{name},{i}.0,2.0,5.0,9.0,1" for i in range(n % 3)] or [f"{name},,,,,0"]
        film(top / f"stage_2_test_images/{name[:-3]}9{n:02}.dcm", 90 + n, dicom=True)
    table(top / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", *rows)


def siim(top: Path) -> None:
    rows = []
    for n in PATIENTS:
        name = f"1.2.276.0.7230010.3.1.4.8323329.{n}.1517875162.13{n}"
        film(top / f"dicom-images-train/1.2.{n}/1.3.{n}/{name}.dcm", n, dicom=True, size=(64, 64))
        rows += [f"{name}, 387620 23 1001 33", f"{name}, 12 4"] if n % 2 else [f"{name}, -1"]
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
    for part, lines in parts.items():
        images = [
            {"id": i, "file_name": path, "width": 96, "height": 80, "license": 1, "coco_url": ""}
            for i, path in enumerate(lines)
        ]
        boxes = [
            {
                "id": one["id"],
                "image_id": one["id"],
                "category_id": 1,
                "bbox": [2.5, 1.0, 8.0, 6.0],
                "area": 48.0,
                "iscrowd": 0,
            }
            for one in images
            if one["file_name"].startswith("tb/")
        ]
        kinds = [{"id": 1, "name": "ActiveTuberculosis", "supercategory": "Tuberculosis"}]
        tree = {"info": {}, "images": images, "annotations": boxes, "categories": kinds}
        (top / f"annotations/json/TBX11K_{part}.json").write_text(json.dumps(tree))


def covidx(top: Path) -> None:
    for part, numbers in (("train", range(1, 9)), ("test", range(11, 15))):
        lines = []
        for n in numbers:
            name = f"img-{n}.png" if n != 3 else "COVID-19 (3).jpeg"
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
    for part, numbers in (("train", range(1, 9)), ("test", range(1, 5)), ("val", range(31, 33))):
        kind, more = ("virus", 20) if part == "test" else ("bacteria", 0)
        for n in numbers:
            film(top / f"{part}/PNEUMONIA/person{n}_{kind}_{n + more}.jpeg", n + more)
            film(top / f"{part}/NORMAL/IM-{n + more:04}-0001.jpeg", 100 + n + more)
    film(top / "chest_xray/train/NORMAL/IM-0001-0001.jpeg", 101)  # the archive holds itself again


MINIATURES: dict[str, Callable[[Path], None]] = {
    "chestxray14": chestxray14, "chexpert": chexpert, "chexpert-plus": chexpert_plus,
    "mimic-cxr-jpg": mimic, "padchest": padchest, "brax": brax, "indiana": indiana,
    "vindr-cxr": vindr, "rsna-pneumonia": rsna, "siim-pneumothorax": siim, "tbx11k": tbx11k,
    "covidx": covidx, "covid-radiography": radiography, "cohen": cohen, "kermany": kermany,
}  # fmt: skip
