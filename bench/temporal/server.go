package main

import (
	"fmt"
	"log/slog"
	"net"

	"github.com/durango-go/durango/bench/internal/bench"
	"github.com/iancoleman/strcase"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
	"go.temporal.io/server/tools/common/schema"
	sqltool "go.temporal.io/server/tools/sql"
)

// unlimited takes away the limits of requests a second, which are there to
// protect a cluster from its tenants.
var unlimited = dynamicconfig.StaticClient{
	dynamicconfig.FrontendRPS.Key():                                         noLimit,
	dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key():                  noLimit,
	dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): noLimit,
	dynamicconfig.FrontendPersistenceMaxQPS.Key():                           noLimit,
	dynamicconfig.HistoryRPS.Key():                                          noLimit,
	dynamicconfig.HistoryPersistenceMaxQPS.Key():                            noLimit,
	dynamicconfig.MatchingRPS.Key():                                         noLimit,
	dynamicconfig.MatchingPersistenceMaxQPS.Key():                           noLimit,
	dynamicconfig.TransferProcessorMaxPollRPS.Key():                         noLimit, // its default of 20 makes 50 ms of each step
	dynamicconfig.TimerProcessorMaxPollRPS.Key():                            noLimit,
	dynamicconfig.VisibilityProcessorMaxPollRPS.Key():                       noLimit,
	dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():                  1,
	dynamicconfig.MatchingNumTaskqueueWritePartitions.Key():                 1,
}

const noLimit = 1_000_000

// startServer starts a server of one host, and returns the address of its
// frontend. It ends with the process.
func startServer(at bench.Place) (string, error) {
	logger := serverLog{slog.New(at.Log)}
	c := &config.Config{
		Services: map[string]config.Service{},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: "active", CurrentClusterName: "active",
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
	hosts := map[primitives.ServiceName]static.Hosts{}
	var frontend string
	for _, name := range temporal.DefaultServices {
		port, err := freePort()
		if err != nil {
			return "", err
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if name == string(primitives.FrontendService) {
			frontend = address
		}
		c.Services[name] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnLocalHost: true}}
		hosts[primitives.ServiceName(name)] = static.Hosts{All: []string{address}, Self: address}
	}
	c.PublicClient.HostPort = frontend
	c.ClusterMetadata.ClusterInformation = map[string]cluster.ClusterInformation{
		"active": {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
	}
	if err := store(at, &c.Persistence, logger); err != nil {
		return "", fmt.Errorf("schema: %w", err)
	}
	s, err := temporal.NewServer(temporal.WithConfig(c), temporal.ForServices(temporal.DefaultServices), temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger), temporal.WithAuthorizer(authorization.NewNoopAuthorizer()), temporal.WithDynamicConfigClient(unlimited))
	if err != nil {
		return "", err
	}
	return frontend, s.Start()
}

// store describes the database, as the server's config/development-sqlite-file.yaml
// and config/development-postgres12.yaml do, and makes its tables.
func store(at bench.Place, p *config.Persistence, logger log.Logger) error {
	p.DefaultStore, p.VisibilityStore = "default", "visibility"
	if at.Server == nil {
		p.NumHistoryShards = 1
		db := config.DataStore{SQL: &config.SQL{
			PluginName: sqlite.PluginName, DatabaseName: at.File, MaxConns: 1, MaxIdleConns: 1,
			ConnectAttributes: map[string]string{"cache": "private", "setup": "true", "journal_mode": "wal", "synchronous": at.Durability()},
		}}
		p.DataStores = map[string]config.DataStore{"default": db, "visibility": db}
		return nil
	}
	p.NumHistoryShards = 4
	p.DataStores = map[string]config.DataStore{}
	for name, conns := range map[string]int{"default": 20, "visibility": 2} {
		conn := at.Server.ConnConfig.Copy()
		conn.RuntimeParams["search_path"] = name + "_store"
		db := &config.SQL{
			PluginName: postgresql.PluginNamePGX, DatabaseName: conn.Database,
			// What it would do itself, but for the socket, which the others use too.
			Connect: func(*config.SQL) (*sqlx.DB, error) {
				db := sqlx.NewDb(stdlib.OpenDB(*conn), "pgx")
				db.SetMaxOpenConns(conns)
				db.SetMaxIdleConns(conns)
				db.MapperFunc(strcase.ToSnake)
				return db, nil
			},
		}
		p.DataStores[name] = config.DataStore{SQL: db}
		if err := makeSchema(db, name, logger); err != nil {
			return err
		}
	}
	return nil
}

// makeSchema does what the server's tool for SQL does.
func makeSchema(db *config.SQL, name string, logger log.Logger) error {
	c, err := sqltool.NewConnection(db, logger)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Exec("CREATE SCHEMA " + name + "_store"); err != nil {
		return err
	}
	folder := map[string]string{"default": "postgresql/v12/temporal", "visibility": "postgresql/v12/visibility"}[name]
	if err := schema.NewSetupSchemaTask(c, &schema.SetupConfig{InitialVersion: "0.0"}, logger).Run(); err != nil {
		return err
	}
	return schema.NewUpdateSchemaTask(c, &schema.UpdateConfig{DBName: db.DatabaseName, SchemaName: folder}, logger).Run()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// serverLog keeps the errors of the server as those of the others are kept. What
// it warns of is its life: shards acquired, namespaces that are not there yet.
type serverLog struct{ *slog.Logger }

func (serverLog) Debug(string, ...tag.Tag) {}
func (serverLog) Info(string, ...tag.Tag)  {}
func (serverLog) Warn(string, ...tag.Tag)  {}

func (l serverLog) Error(msg string, tags ...tag.Tag) {
	for _, t := range tags {
		if t.Key() == "error" {
			msg += fmt.Sprint(": ", t.Value())
		}
	}
	l.Logger.Error(msg)
}

func (l serverLog) DPanic(msg string, tags ...tag.Tag) { l.Error(msg, tags...) }
func (l serverLog) Panic(msg string, tags ...tag.Tag)  { panic(msg) }
func (l serverLog) Fatal(msg string, tags ...tag.Tag)  { l.Panic(msg, tags...) }
