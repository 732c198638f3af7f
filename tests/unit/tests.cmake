find_package(rapidcheck REQUIRED)
# One binary per folder; each builds without the rest of the tree's programs.
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)
weir_tests(unit plugins LIBRARIES weir_proxmox weir_sdk nlohmann_json::nlohmann_json ${CMAKE_DL_LIBS} Threads::Threads)
target_compile_definitions(unit_plugins PRIVATE WEIR_STAGES_DIR="${CMAKE_BINARY_DIR}/stages")
add_dependencies(unit_plugins nodes virtual-machines backups)
weir_tests(unit base LIBRARIES weir_base)
weir_tests(unit config LIBRARIES weir_config rapidcheck)
weir_tests(unit throttle LIBRARIES weir_throttle nlohmann_json::nlohmann_json rapidcheck)
find_package(OpenSSL REQUIRED)  # the scripted servers' TLS
find_package(ZLIB REQUIRED)
weir_tests(unit http LIBRARIES weir_http OpenSSL::SSL OpenSSL::Crypto ZLIB::ZLIB)
weir_tests(unit source LIBRARIES weir_source OpenSSL::SSL OpenSSL::Crypto)
