find_package(CURL REQUIRED)
find_package(fmt REQUIRED)
weir_tests(sim netbox LIBRARIES weir_sim nlohmann_json::nlohmann_json)
weir_tests(sim load LIBRARIES weir_sim)
weir_tests(sim proxmox LIBRARIES weir_sim nlohmann_json::nlohmann_json CURL::libcurl)
weir_tests(sim runs LIBRARIES weir_engine weir_sim nlohmann_json::nlohmann_json)
add_dependencies(sim_runs nodes virtual-machines backups)
weir_tests(sim virtual LIBRARIES weir_engine weir_sim nlohmann_json::nlohmann_json fmt::fmt)
# Hundreds of days in one binary: optimised, as is the production code, whose copies of JSON's templates would otherwise
# give way to those of the tests.
target_compile_options(sim_virtual PRIVATE -O1)
set_target_properties(sim_virtual PROPERTIES DISABLE_PRECOMPILE_HEADERS ON)
# Some hundreds of simulated runs of minutes each.
weir_tests(sim adaptive LIBRARIES weir_cli fmt::fmt)
