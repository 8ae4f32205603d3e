package types

type Item struct{ Weight int }
