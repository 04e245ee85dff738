"""Tests of attacks that claim another model than the stolen one."""
