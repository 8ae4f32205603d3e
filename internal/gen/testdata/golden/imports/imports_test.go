package imports

// A name that only tests have, and that the generated file must leave alone.
var types = 3
