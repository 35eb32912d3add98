"""File formats: each module reads and checks one format; the only place that knows DICOM, NIfTI and NRRD."""
