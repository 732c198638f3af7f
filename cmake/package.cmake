# Debian packages, one per component, from a build directory:  cpack -G DEB
#   weir          the program, profiles, units, manual, completions, documents     (whatever names no COMPONENT)
#   weir-plugins  the stages that come with it
#   weir-sdk      headers, CMake package, template, guide, examples: for any machine
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_VENDOR "weir developers")
set(CPACK_PACKAGE_CONTACT "weir developers <weir@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL weir weir-plugins weir-sdk)
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
set(CPACK_DEBIAN_WEIR_PACKAGE_RECOMMENDS "weir-plugins (= ${PROJECT_VERSION}), ca-certificates")
set(CPACK_DEBIAN_WEIR_PACKAGE_SUGGESTS weir-sdk)
set(CPACK_DEBIAN_WEIR_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/cmake/debian/postinst;${CMAKE_SOURCE_DIR}/cmake/debian/prerm;${CMAKE_SOURCE_DIR}/cmake/debian/postrm)
set(CPACK_DEBIAN_WEIR_DESCRIPTION "copies Proxmox VE into NetBox, as fast as that NetBox can take it
weir compares what Proxmox VE says with what NetBox holds, and sends the
difference in lists, below ceilings that a profile sets. What is read is the
work of plugins.")

set(CPACK_DEBIAN_WEIR-PLUGINS_PACKAGE_NAME weir-plugins)
set(CPACK_DEBIAN_WEIR-PLUGINS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_WEIR-PLUGINS_PACKAGE_DEPENDS "weir (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_WEIR-PLUGINS_DESCRIPTION "the stages that come with weir: nodes, guests and backups of Proxmox VE
Nodes become devices, guests virtual machines, backups objects of the NetBox
plugin for them.")

set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_NAME weir-sdk)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_DEPENDS "libc6-dev | libc-dev")
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_RECOMMENDS "g++ (>= 4:12), cmake (>= 3.25), nlohmann-json3-dev")
set(CPACK_DEBIAN_WEIR-SDK_PACKAGE_SUGGESTS weir)
set(CPACK_DEBIAN_WEIR-SDK_DESCRIPTION "stages of one's own for weir
Headers in C11 and C++20, a function for CMake, a host in memory for tests, a
template that 'weir new-stage' lays out, a guide and examples.")

# --- What is made for the packages: by weir itself, from its command line

set(made ${CMAKE_BINARY_DIR}/install)
add_custom_command(OUTPUT ${made}/weir.1.gz ${made}/weir.yaml.5.gz ${made}/completion/weir ${made}/completion/_weir ${made}/completion/weir.fish
  COMMAND ${CMAKE_COMMAND} -E make_directory ${made}/completion
  COMMAND weir completion bash > ${made}/completion/weir
  COMMAND weir completion zsh > ${made}/completion/_weir
  COMMAND weir completion fish > ${made}/completion/weir.fish
  COMMAND weir man > ${made}/weir.1
  COMMAND weir man weir.yaml > ${made}/weir.yaml.5
  COMMAND gzip -9nf ${made}/weir.1 ${made}/weir.yaml.5
  DEPENDS weir COMMENT "Manual pages and completions" VERBATIM)
# In the form that Debian's tools read; what has changed stands in CHANGELOG.md.
configure_file(cmake/debian/changelog.in ${made}/changelog @ONLY)
add_custom_command(OUTPUT ${made}/changelog.gz
  COMMAND gzip -9nc ${made}/changelog > ${made}/changelog.gz
  DEPENDS ${made}/changelog VERBATIM)
add_custom_target(weir_made ALL DEPENDS ${made}/weir.1.gz ${made}/changelog.gz)

install(FILES ${made}/weir.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${made}/weir.yaml.5.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES ${made}/completion/weir DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${made}/completion/_weir DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${made}/completion/weir.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# The units start the weir that is installed with them. (For a package the prefix is a folder that packs it up.)
foreach(unit weir.service weir-serve.service weir.timer)
  install(FILES configs/systemd/${unit} DESTINATION lib/systemd/system)
  install(CODE "
    set(unit \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/systemd/system/${unit}\")
    if(NOT CMAKE_INSTALL_PREFIX MATCHES /_CPack_Packages/)
      file(READ \${unit} text)
      string(REPLACE /usr/bin/weir \${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/weir text \"\${text}\")
      file(WRITE \${unit} \"\${text}\")
    endif()")
endforeach()

foreach(package weir weir-plugins weir-sdk)
  set(documents ${CMAKE_INSTALL_DATADIR}/doc/${package})
  install(FILES cmake/debian/copyright ${made}/changelog.gz DESTINATION ${documents} COMPONENT ${package})
endforeach()
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES README.md CHANGELOG.md configs/REFERENCE.md DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(FILES configs/systemd/config.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES configs/weir.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/weir OPTIONAL)

include(CPack)
