"""Result files to tables, figures and one HTML page."""
