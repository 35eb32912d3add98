"""What a printed table cannot hold: arithmetic on published or own tables, one check a file in `checks/`."""
