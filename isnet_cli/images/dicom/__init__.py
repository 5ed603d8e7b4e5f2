"""DICOM: headers, decoders, grey levels, writing."""
