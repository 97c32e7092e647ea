"""The templates' documents, one JSON file each, as `app/workflows/template.py` reads them."""
