"""The report page of an evaluation: `writing` collects what it shows, `html` fills the templates in `assets`."""
