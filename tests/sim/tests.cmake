find_package(CURL REQUIRED)
weir_tests(sim netbox LIBRARIES weir_sim nlohmann_json::nlohmann_json)
weir_tests(sim proxmox LIBRARIES weir_sim nlohmann_json::nlohmann_json CURL::libcurl)
