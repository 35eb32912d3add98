"""Into and out of archives: DICOMweb and DIMSE, with a ledger of what went where."""
