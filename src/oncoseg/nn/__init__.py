"""Network parts shared by models; torch only, knows nothing of cases."""
