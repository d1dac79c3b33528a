package translate

// reportAttributes adds an entry for every attribute that no rule spoke of.
func (t *translator) reportAttributes() {}
