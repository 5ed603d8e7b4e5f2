"""Files for people and viewers: pictures, figures, DICOM, NIfTI."""
