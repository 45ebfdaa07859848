"""The limited process that reads pages."""
