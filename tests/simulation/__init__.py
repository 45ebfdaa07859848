"""All of Dossier in one thread and virtual time, with everything going wrong that one seed draws."""
