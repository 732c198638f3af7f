# Debian packages, one per component, from a build directory:  cpack -G DEB
#   weir      the program, its stages, profiles and documents     (further parts of it: COMPONENT weir)
#   weir-sdk  headers, CMake package, template, guide, examples: for any machine
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_VENDOR "weir developers")
set(CPACK_PACKAGE_CONTACT "weir developers <weir@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL weir weir-sdk)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES ON)
# Modes in a package must not depend on the umask of whoever builds it: weir refuses plugins that others may change.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
    WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_WEIR_PACKAGE_NAME weir)
set(CPACK_DEBIAN_WEIR_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_WEIR_PACKAGE_SUGGESTS weir-sdk)
set(CPACK_DEBIAN_WEIR_DESCRIPTION "copies Proxmox VE into NetBox, as fast as that NetBox can take it
weir compares what Proxmox VE says with what NetBox holds, and sends the difference in lists, below ceilings that a profile sets.
What is read is the work of plugins.")

set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_NAME weir-sdk)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_DEPENDS "libc6-dev | libc-dev")
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_RECOMMENDS "g++ (>= 4:12), cmake (>= 3.25), nlohmann-json3-dev")
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_SUGGESTS weir)
set(CPACK_DEBIAN_WEIR-SDK_DESCRIPTION "stages of one's own for weir
Headers in C11 and C++20, a function for CMake, a host in memory for tests, a template that 'weir new-stage' lays out, a guide
and examples.")

install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT weir)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright COMPONENT weir)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/weir-sdk RENAME copyright COMPONENT weir-sdk)

include(CPack)
