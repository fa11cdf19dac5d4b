"""The mapping between the typed frame of a table and the tensors x and mask: `TableCoding`."""

from aeframe_tabular.coding.column_coding import ColumnCoding, Element
from aeframe_tabular.coding.options import CodingOptions, NumberCodingName
from aeframe_tabular.coding.table_coding import TableCoding

__all__ = ["CodingOptions", "ColumnCoding", "Element", "NumberCodingName", "TableCoding"]
