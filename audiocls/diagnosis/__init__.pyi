from .diagnosing import diagnose as diagnose, diagnose_again as diagnose_again, find_faults as find_faults
from .finding import Figure as Figure, Finding as Finding
from .report import Diagnosis as Diagnosis
