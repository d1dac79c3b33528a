package translate

// SchemaPaths is for the tests of package translate_test.
var SchemaPaths = schemaPaths
