from .pairs import find_near_duplicates as find_near_duplicates, search as search
