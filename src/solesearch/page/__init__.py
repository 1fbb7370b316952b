"""The web page: search by a photo of the catalogue or one's own."""
