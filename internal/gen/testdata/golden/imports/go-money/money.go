package money

type Amount int
