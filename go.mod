module github.com/durango-go/durango

go 1.26
