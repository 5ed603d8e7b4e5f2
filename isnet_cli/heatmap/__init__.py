"""Stage `heatmap`: maps of chosen images as pictures, arrays and DICOM."""
