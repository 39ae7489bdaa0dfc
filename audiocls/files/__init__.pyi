from .atomic import (
    full_disk as full_disk,
    is_full as is_full,
    living_parts as living_parts,
    replacing as replacing,
    told_when_full as told_when_full,
)
from .databases import database_file as database_file
from .masking import masked as masked, masked_values as masked_values, without_user as without_user
from .places import (
    Location as Location,
    chain_fault as chain_fault,
    file_system as file_system,
    folder_of as folder_of,
    is_uri as is_uri,
    joined as joined,
    localised as localised,
    on_disk as on_disk,
    plain_below as plain_below,
    suffix_of as suffix_of,
)
from .spelling import (
    composed as composed,
    hides_characters as hides_characters,
    look_alikes as look_alikes,
    spelled_on_disk as spelled_on_disk,
)
from .storage import (
    Place as Place,
    clean_up as clean_up,
    home_of as home_of,
    local_folder as local_folder,
    local_path as local_path,
    mark_used as mark_used,
    missing_drivers_named as missing_drivers_named,
    name_of_home as name_of_home,
    open_place as open_place,
    writing as writing,
)
from .tables import (
    as_csv as as_csv,
    damaged as damaged,
    open_table as open_table,
    read_table as read_table,
    tables_in as tables_in,
    write_table as write_table,
)
from .text_encoding import EncodingFault as EncodingFault, as_utf8 as as_utf8
